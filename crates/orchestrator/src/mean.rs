//! The mean of numbers, and how sure one can be of it.

/// The mean of numbers with their spread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mean {
    /// How many numbers.
    pub count: usize,
    /// Their mean.
    pub value: f64,
    /// Their sample variance; none of a single one.
    variance: Option<f64>,
}

impl Mean {
    /// The mean of numbers; `None` if there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len() as f64;
        let value = values.iter().sum::<f64>() / n;
        let squares = values.iter().map(|x| (x - value).powi(2)).sum::<f64>();
        let variance = (values.len() > 1).then(|| squares / (n - 1.0));
        (!values.is_empty()).then_some(Self { count: values.len(), value, variance })
    }

    /// Sample standard deviation over the root of the number: right for independent numbers.
    pub fn standard_error(&self) -> Option<f64> {
        self.variance.map(|variance| (variance / self.count as f64).sqrt())
    }

    /// The same with `1/n + test rows / training rows` in place of `1/n`, for numbers from random re-splits of one table, which
    /// overlap (Nadeau and Bengio 2003). Known to be rather too large.
    pub fn corrected_standard_error(&self, test_rows: usize, training_rows: usize) -> Option<f64> {
        let overlap = test_rows as f64 / training_rows as f64;
        self.variance.map(|variance| (variance * (1.0 / self.count as f64 + overlap)).sqrt())
    }

    /// The 95 % interval of Student's t, for independent numbers.
    pub fn interval(&self) -> Option<(f64, f64)> {
        let reach = student(self.count.saturating_sub(1)) * self.standard_error()?;
        Some((self.value - reach, self.value + reach))
    }
}

/// The 97.5 % quantile of Student's t.
fn student(freedom: usize) -> f64 {
    const TABLE: [f64; 20] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
        2.120, 2.110, 2.101, 2.093, 2.086,
    ];
    // Beyond the table the expansion in 1 / freedom (Abramowitz and Stegun 26.7.5) is good to four digits.
    let (z, n): (f64, f64) = (1.959964, freedom as f64);
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * n * n);
    TABLE.get(freedom.wrapping_sub(1)).copied().unwrap_or(z + (z.powi(3) + z) / (4.0 * n) + second)
}

/// Digits after the point: scores are per cent, or errors in a unit that may be large or small.
pub fn digits(score: f64) -> usize {
    if score.abs() < 10.0 { 4 } else { 2 }
}

/// With its sign, but not that of a zero.
pub fn signed(number: f64, digits: usize) -> String {
    let text = format!("{number:+.digits$}");
    let is_zero = text.bytes().all(|byte| matches!(byte, b'+' | b'-' | b'0' | b'.'));
    if is_zero { format!("{:.digits$}", 0.0) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} instead of {expected}");
    }

    /// Standard deviation 1, standard error 1/sqrt 3, and 4.303 of them on either side.
    #[test]
    fn errors_and_intervals_by_hand() {
        let mean = Mean::of(&[67.0, 68.0, 69.0]).unwrap();
        near(mean.value, 68.0);
        let error = 1.0 / 3.0_f64.sqrt();
        near(mean.standard_error().unwrap(), error);
        near(mean.corrected_standard_error(20, 80).unwrap(), (1.0_f64 / 3.0 + 0.25).sqrt());
        let (lower, upper) = mean.interval().unwrap();
        near(lower, 68.0 - 4.303 * error);
        near(upper, 68.0 + 4.303 * error);
        assert!((student(9) - 2.262).abs() < 1e-9 && (student(30) - 2.0423).abs() < 1e-3);

        assert_eq!(Mean::of(&[]), None);
        let one = Mean::of(&[68.0]).unwrap();
        assert_eq!((one.value, one.standard_error(), one.interval()), (68.0, None, None));
        assert_eq!(one.corrected_standard_error(20, 80), None);
    }

    #[test]
    fn a_zero_has_no_sign() {
        assert_eq!([0.124, -0.124, -0.001, 0.0].map(|x| signed(x, 2)), ["+0.12", "-0.12", "0.00", "0.00"]);
    }
}
