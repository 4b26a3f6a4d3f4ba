//! HTML that cannot be broken by what it shows: only this module makes tags, and every text is escaped on its way in.

use std::fmt::Write;

use crate::picture_files::font_face;

/// A piece of a page.
#[derive(Debug, Clone, PartialEq)]
pub struct Markup(String);

/// A part of the page with a heading, to which the list of contents has a link.
pub struct Section {
    id: &'static str,
    title: String,
    content: Markup,
}

impl Section {
    /// A section; `id` names it within the page.
    pub fn new(id: &'static str, title: impl Into<String>, content: impl Into<Markup>) -> Self {
        Self { id, title: title.into(), content: content.into() }
    }
}

#[cfg(test)]
impl Markup {
    /// As it will stand in the file.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// Text: whatever it holds, it is shown and does nothing.
impl From<&str> for Markup {
    fn from(text: &str) -> Self {
        Self(escaped(text))
    }
}

impl From<String> for Markup {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<Vec<Markup>> for Markup {
    fn from(parts: Vec<Markup>) -> Self {
        Self(parts.into_iter().map(|part| part.0).collect())
    }
}

impl<const N: usize> From<[Markup; N]> for Markup {
    fn from(parts: [Markup; N]) -> Self {
        Vec::from(parts).into()
    }
}

/// A paragraph.
pub fn paragraph(content: impl Into<Markup>) -> Markup {
    element("p", "", content)
}

/// A paragraph that must not be overlooked.
pub fn caution(content: impl Into<Markup>) -> Markup {
    element("p", "caution", content)
}

/// A heading within a section.
pub fn heading(content: impl Into<Markup>) -> Markup {
    element("h3", "", content)
}

/// Words that stand out.
pub fn strong(content: impl Into<Markup>) -> Markup {
    Markup(format!("<strong>{}</strong>", content.into().0))
}

/// A command, a file or a hash within a sentence.
pub fn code(content: impl Into<Markup>) -> Markup {
    Markup(format!("<code>{}</code>", content.into().0))
}

/// Lines as they are typed or stored.
pub fn listing(content: impl Into<Markup>) -> Markup {
    element("pre", "", content)
}

/// Points, one below the other.
pub fn list(points: impl IntoIterator<Item = Markup>) -> Markup {
    element("ul", "", points.into_iter().map(|point| element("li", "", point)).collect::<Vec<_>>())
}

/// Rows under their headings; the first cell of a row says what it is about.
pub fn table(headings: &[&str], rows: impl IntoIterator<Item = Vec<Markup>>) -> Markup {
    let head = headings.iter().map(|heading| element("th", "", *heading)).collect::<Vec<_>>();
    let row = |cells: Vec<Markup>| {
        let cell = |(k, cell)| element(if k == 0 { "th" } else { "td" }, "", cell);
        element("tr", "", cells.into_iter().enumerate().map(cell).collect::<Vec<_>>())
    };
    let rows = rows.into_iter().map(row).collect::<Vec<_>>();
    let table = element("table", "", [element("thead", "", element("tr", "", head)), element("tbody", "", rows)]);
    // A table of many columns is scrolled on a narrow window, rather than having one word in a line.
    element("div", if headings.len() > 5 { "scroll wide" } else { "scroll" }, table)
}

/// Something that a click on its summary shows, and that paper shows anyway.
pub fn folded(summary: impl Into<Markup>, content: Markup) -> Markup {
    element("details", "", [Markup(format!("<summary>{}</summary>", summary.into().0)), content])
}

/// Names and what they stand for.
pub fn facts(facts: impl IntoIterator<Item = (&'static str, Markup)>) -> Markup {
    let fact = |(name, value)| Markup::from([element("dt", "", name), element("dd", "", value)]);
    element("dl", "", facts.into_iter().map(fact).collect::<Vec<_>>())
}

/// Pictures with what is to be seen on them, side by side where there is room.
pub fn gallery(figures: impl IntoIterator<Item = (Markup, String)>) -> Markup {
    let figure =
        |(picture, caption): (Markup, String)| element("figure", "", [picture, element("figcaption", "", caption)]);
    element("div", "gallery", figures.into_iter().map(figure).collect::<Vec<_>>())
}

/// A drawing of `plotters`, which escapes its texts; `description` is for those who cannot see it.
pub fn drawing(svg: &str, description: &str) -> Markup {
    // Within HTML the namespace is understood, and a page without an address in it is seen to load nothing.
    let svg = svg.replacen(" xmlns=\"http://www.w3.org/2000/svg\"", "", 1);
    let rest = svg.trim_start().strip_prefix("<svg").expect("a drawing begins with its tag");
    Markup(format!("<svg role=\"img\" aria-label=\"{}\"{rest}", escaped(description)))
}

/// The SVG file of a run. As an image, whatever the file holds is shown and never run.
pub fn image(svg: &[u8], description: &str) -> Markup {
    let mut address = String::from("data:image/svg+xml,");
    for byte in svg {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => address.push(char::from(*byte)),
            _ => write!(address, "%{byte:02X}").expect("a string takes everything"),
        }
    }
    Markup(format!("<img alt=\"{}\" src=\"{address}\">", escaped(description)))
}

/// The head of the page: the answer, in the colour of what it is.
pub fn banner(kind: &'static str, title: &str, content: impl Into<Markup>) -> Markup {
    element("header", kind, [element("h1", "", title), content.into()])
}

/// The file. Should a text ever get through unescaped, the policy in the head still keeps the browser from running or loading
/// anything.
pub fn document(title: &str, banner: Markup, sections: &[Section]) -> String {
    let link = |section: &Section| Markup(format!("<a href=\"#{}\">{}</a>", section.id, escaped(&section.title)));
    let contents = element("nav", "", list(sections.iter().map(link)));
    let section = |section: &Section| {
        let Section { id, title, content } = section;
        Markup(format!("<section id=\"{id}\">\n<h2>{}</h2>\n{}\n</section>\n", escaped(title), content.0))
    };
    let body: Markup = sections.iter().map(section).collect::<Vec<_>>().into();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
         font-src data:\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>\n{}\n{}</style>\n</head>\n<body>\n{}\n{}\n<main>\n{}</main>\n</body>\n</html>\n",
        escaped(title),
        // For the drawings: elsewhere a browser's own letters are the better ones.
        font_face(),
        include_str!("page.css"),
        banner.0,
        contents.0,
        body.0
    )
}

fn element(tag: &'static str, class: &'static str, content: impl Into<Markup>) -> Markup {
    let content = content.into().0;
    match class {
        "" => Markup(format!("<{tag}>{content}</{tag}>\n")),
        class => Markup(format!("<{tag} class=\"{class}\">{content}</{tag}>\n")),
    }
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVIL: &str = "</p><script>alert('x')</script>\" onload=\"y & z";

    #[test]
    fn a_text_stays_a_text_wherever_it_stands() {
        let parts = [
            paragraph(EVIL),
            table(&[EVIL], [vec![EVIL.into()]]),
            folded(EVIL, EVIL.into()),
            facts([("name", EVIL.into())]),
            gallery([(drawing("<svg width=\"1\"></svg>", EVIL), EVIL.into())]),
            image(EVIL.as_bytes(), EVIL),
        ];
        let page = document(EVIL, banner("certified", EVIL, EVIL), &[Section::new("id", EVIL, parts)]);
        assert!(!page.contains("<script") && !page.contains("\" onload"), "{page}");
        assert!(
            page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot; onload=&quot;y &amp; z"),
            "{page}"
        );
    }

    #[test]
    fn a_file_of_the_run_is_no_part_of_the_page() {
        let Markup(image) = image(b"<svg><script>1</script></svg>", "");
        assert!(image.contains("src=\"data:image/svg+xml,%3Csvg%3E%3Cscript%3E1"), "{image}");
    }
}
