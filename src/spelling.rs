//! Finds the name that was probably meant by one that is not known.

/// The name among `known` that differs least from `name`, whose letters may be upper or lower case.
/// `None` if every one of them differs in more than a third of its length.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_ascii_lowercase();
    known
        .map(|known| (distance(&known.to_ascii_lowercase(), &lower), known))
        .min()
        .filter(|(distance, _)| *distance <= 1.max(name.len() / 3))
        .map(|(_, known)| known)
}

/// The number of bytes to insert, delete or replace, or of neighbours to exchange.
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut rows: Vec<Vec<usize>> = vec![(0..=other.len()).collect()];
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let replaced = rows[i][j] + usize::from(a != b);
            let mut least = replaced.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}
