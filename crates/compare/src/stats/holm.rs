//! Holm's correction for many tests.

/// Adjusted p-values: rejecting those at most α keeps the chance of any false rejection at α, whatever the dependence
/// (Holm, Scand. J. Stat. 1979).
///
/// ```
/// assert_eq!(compare::stats::holm::adjust(&[0.01, 0.04, 0.03]), [0.03, 0.06, 0.06]);
/// ```
pub fn adjust(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&i, &j| p_values[i].total_cmp(&p_values[j]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut running: f64 = 0.0;
    for (rank, &i) in order.iter().enumerate() {
        running = running.max(p_values[i] * (p_values.len() - rank) as f64).min(1.0);
        adjusted[i] = running;
    }
    adjusted
}
