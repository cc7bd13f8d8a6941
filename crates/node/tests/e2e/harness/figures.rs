//! Figures of many calls.

/// The value that `share` of all values do not exceed, from 0 to 1; 0 of none.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * share).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// The middle and the 99th of a hundred of times in seconds, in milliseconds.
pub(crate) fn half_and_most(seconds: impl IntoIterator<Item = f64>) -> [f64; 2] {
    let mut seconds: Vec<f64> = seconds.into_iter().collect();
    [0.5, 0.99].map(|share| quantile(&mut seconds, share) * 1_000.0)
}

/// The longest of times in seconds, in milliseconds; 0 of none.
pub(crate) fn most(seconds: impl IntoIterator<Item = f64>) -> f64 {
    seconds.into_iter().fold(0.0, f64::max) * 1_000.0
}
