#!/usr/bin/env python3
"""Make the two tables of the manifest from UCI's archive, beside it: blogData_train.csv.gz, and the 60 test files one after
the other in the order of their names as blogData_test_all.csv.gz.

    python3 convert.py FOLDER/BlogFeedback.zip
"""

import gzip
import hashlib
import pathlib
import sys
import zipfile

# Of the texts before compression, as in manifest.toml.
SHA256 = {
    "blogData_train.csv": "f3cc953ea9913361be6d3bae2c393eef73eab57b1cb8e5bf8a22f1e5eb5dd05f",
    "blogData_test_all.csv": "b8143cca9c76597c0ab8b433e2dd3a547c20276771e1fc24f8804349d85160c9",
}


def main(archive: pathlib.Path) -> None:
    with zipfile.ZipFile(archive) as files:
        tests = sorted(name for name in files.namelist() if name.startswith("blogData_test-"))
        tables = {
            "blogData_train.csv": files.read("blogData_train.csv"),
            "blogData_test_all.csv": b"".join(files.read(name) for name in tests),
        }

    for name, text in tables.items():
        found = hashlib.sha256(text).hexdigest()
        if found != SHA256[name]:
            sys.exit(f"{archive}: sha256 of {name} is {found}, expected {SHA256[name]}: this is another archive")
        destination = archive.with_name(name + ".gz")
        destination.write_bytes(gzip.compress(text, mtime=0))
        print(destination)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
