//! Pages of lists with tokens, which are the position of the last row.

/// A list's order: rows after a position come next.
pub(super) type SortKey = (i64, String);

/// Rows of a page, and the position of its last row if there are more.
pub(super) struct Page<T> {
    pub(super) rows: Vec<T>,
    pub(super) last: Option<SortKey>,
}

/// The rows after a position in the order of their keys.
pub(super) fn page<T>(
    mut rows: Vec<(SortKey, T)>,
    after: Option<&SortKey>,
    limit: usize,
) -> Page<T> {
    rows.retain(|(key, _)| after.is_none_or(|after| key > after));
    rows.sort_by(|(one, _), (other, _)| one.cmp(other));
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let last = rows.last().map(|(key, _)| key.clone());
    Page {
        rows: rows.into_iter().map(|(_, row)| row).collect(),
        last: last.filter(|_| has_more),
    }
}

/// Opaque text of a token's parts.
pub(super) fn token(parts: &[&str]) -> String {
    hex::encode(parts.join("\n"))
}

/// Parts of a token; `None` if it has another form.
pub(super) fn parse_token<const N: usize>(token: &str) -> Option<[String; N]> {
    let text = String::from_utf8(hex::decode(token).ok()?).ok()?;
    let parts: Vec<String> = text.split('\n').map(str::to_owned).collect();
    parts.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_each_row_once() {
        let rows = |count: i64| {
            let rows = (0..count).rev();
            rows.map(|at| ((at / 2, at.to_string()), at))
                .collect::<Vec<_>>()
        };
        let (mut after, mut all) = (None, Vec::new());
        loop {
            let page = page(rows(5), after.as_ref(), 2);
            all.extend(page.rows);
            after = page.last;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(all, [0, 1, 2, 3, 4]);
        assert_eq!(page(rows(4), None, 4).last, None, "the last page is full");
    }

    #[test]
    fn tokens_keep_their_parts() {
        let token = token(&["sync", "7"]);
        let parts = ["sync".to_owned(), "7".to_owned()];
        assert_eq!(parse_token(&token), Some(parts));
        assert_eq!(parse_token::<3>(&token), None);
        assert_eq!(parse_token::<1>("other"), None);
    }
}
