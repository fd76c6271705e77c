//! Numbers as people read them.

/// A number with its unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Measure {
    /// Number and unit, in order: one pair, or two for durations.
    pub(crate) parts: Vec<(String, &'static str)>,
}

impl Measure {
    /// The parts with `gap` between number and unit, and a space between pairs.
    pub(crate) fn join(&self, gap: &str) -> String {
        let pair = |(number, unit): &(String, &str)| match *unit {
            "" => number.clone(),
            unit => format!("{number}{gap}{unit}"),
        };
        self.parts.iter().map(pair).collect::<Vec<_>>().join(" ")
    }
}

/// `185 k`, `9.18 M`: three significant digits, thousands as `k`, `M`, `G`, `T`.
///
/// ```
/// use compare::table::quantity;
/// assert_eq!([999, 1000, 184_960, 9_175_040].map(quantity), ["999", "1.00 k", "185 k", "9.18 M"]);
/// ```
pub fn quantity(count: u64) -> String {
    quantity_measure(count).join(" ")
}

/// `512 B`, `2.6 MB`: powers of 1000, one decimal.
///
/// ```
/// use compare::table::bytes;
/// assert_eq!([512, 2_600_000, 999_960, 20_800_000_000].map(bytes), ["512 B", "2.6 MB", "1.0 MB", "20.8 GB"]);
/// ```
pub fn bytes(count: u64) -> String {
    bytes_measure(count).join(" ")
}

/// `0.42 s`, `8.1 s`, `1 m 12 s`, `2 h 5 m`.
///
/// ```
/// use compare::table::duration;
/// assert_eq!([0.42, 8.13, 59.97, 72.4, 7530.0].map(duration), ["0.42 s", "8.1 s", "1 m 0 s", "1 m 12 s", "2 h 6 m"]);
/// ```
pub fn duration(seconds: f64) -> String {
    duration_measure(seconds).join(" ")
}

pub(crate) fn quantity_measure(count: u64) -> Measure {
    scaled(count, ["", "k", "M", "G", "T"], |value| match value {
        v if v < 10.0 => 2,
        v if v < 100.0 => 1,
        _ => 0,
    })
}

pub(crate) fn bytes_measure(count: u64) -> Measure {
    scaled(count, ["B", "kB", "MB", "GB", "TB"], |_| 1)
}

pub(crate) fn duration_measure(seconds: f64) -> Measure {
    let whole = seconds.round() as u64;
    let parts = if seconds == 0.0 {
        vec![("0".to_owned(), "s")]
    } else if seconds < 0.995 {
        vec![(format!("{seconds:.2}"), "s")]
    } else if seconds < 59.95 {
        vec![(format!("{seconds:.1}"), "s")]
    } else if whole < 3600 {
        vec![((whole / 60).to_string(), "m"), ((whole % 60).to_string(), "s")]
    } else {
        let minutes = (seconds / 60.0).round() as u64;
        vec![((minutes / 60).to_string(), "h"), ((minutes % 60).to_string(), "m")]
    };
    Measure { parts }
}

/// Picks the unit that leaves fewer than four digits after rounding; whole numbers stay exact below 1000.
fn scaled(count: u64, units: [&'static str; 5], decimals: impl Fn(f64) -> usize) -> Measure {
    let mut value = count as f64;
    let mut unit = 0;
    let rounded = |value: f64, unit: usize| {
        if unit == 0 { format!("{value}") } else { format!("{value:.*}", decimals(value)) }
    };
    while unit + 1 < units.len() && rounded(value, unit).parse::<f64>().is_ok_and(|shown| shown >= 1000.0) {
        value /= 1000.0;
        unit += 1;
    }
    Measure { parts: vec![(rounded(value, unit), units[unit])] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_never_shows_four_digits() {
        assert_eq!(quantity(999_499), "999 k");
        assert_eq!(quantity(999_500), "1.00 M");
        assert_eq!(quantity(0), "0");
        assert_eq!(quantity(1_000_000_000_000_000), "1000 T");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(99_960), "100.0 kB");
    }

    #[test]
    fn durations_carry_over() {
        assert_eq!(
            [0.994, 0.996, 59.94, 59.96, 3599.4, 3599.6].map(duration),
            ["0.99 s", "1.0 s", "59.9 s", "1 m 0 s", "59 m 59 s", "1 h 0 m"]
        );
        assert_eq!(duration(0.0), "0 s");
    }
}
