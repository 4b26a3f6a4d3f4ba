//! Numbers as people read them.

/// Five significant digits at most; very small and very large numbers as powers of ten.
pub fn number(x: f64) -> String {
    if x == 0.0 {
        return "0".into();
    }
    let magnitude = x.abs().log10().floor();
    if !(-4.0..7.0).contains(&magnitude) {
        return format!("{x:.2e}");
    }
    let decimals = (4.0 - magnitude).max(0.0) as usize;
    let text = format!("{x:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

/// At most `length` characters, so that it fits beside an axis.
pub fn shortened(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.into();
    }
    text.chars().take(length - 1).chain(['…']).collect()
}

/// At most `length` characters of a name, whose end often says how it differs from the others.
pub fn ends(text: &str, length: usize) -> String {
    let characters: Vec<char> = text.chars().collect();
    if characters.len() <= length {
        return text.into();
    }
    let (first, last) = (length / 2, length - length / 2 - 1);
    let kept = characters[..first].iter().chain(&['…']).chain(&characters[characters.len() - last..]);
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_not_wrong() {
        let cases = [
            (0.0, "0"),
            (38.0, "38"),
            (0.1 + 0.2, "0.3"),
            (-1.25, "-1.25"),
            (123_456.7, "123457"),
            (100.0, "100"),
            (0.000123456, "0.00012346"),
            (3.0e-9, "3.00e-9"),
            (1.5e12, "1.50e12"),
            (9.99999, "10"),
        ];
        for (x, expected) in cases {
            assert_eq!(number(x), expected);
        }
        assert_eq!([ends("größer", 6), ends("größer als 8", 6)], ["größer", "grö… 8"]);
        assert_eq!((shortened("größer", 6), shortened("größere", 6)), ("größer".into(), "größe…".into()));
    }
}
