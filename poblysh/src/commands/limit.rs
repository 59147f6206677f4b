//! The number of rows of a list, and the filters of its query.

use clap::Args;

/// The number of rows to show.
#[derive(Debug, Args)]
pub(crate) struct Limit {
    /// The most rows to show.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Show all rows.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

impl Limit {
    /// The number of rows; `None` for all.
    pub(crate) fn rows(&self) -> Option<usize> {
        (!self.all).then(|| usize::try_from(self.limit).unwrap_or(usize::MAX))
    }
}

/// The parameters of a query that have a value.
pub(crate) fn query<'n>(
    parameters: impl IntoIterator<Item = (&'n str, Option<String>)>,
) -> Vec<(&'n str, String)> {
    let parameters = parameters.into_iter();
    parameters
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

/// Several values of a parameter, as the API accepts them.
pub(crate) fn joined(values: &[String]) -> Option<String> {
    (!values.is_empty()).then(|| values.join(","))
}
