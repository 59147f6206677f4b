//! Settings from pairs of names and values.

use crate::config::{Env, Reader};
use crate::connectors::settings::{App, ProviderSettings};

/// Reads a provider's settings; names are without the prefix of all variables.
pub(in crate::connectors) fn read_settings<A: App>(
    pairs: &[(&str, &str)],
) -> Result<ProviderSettings<A>, String> {
    let env = Env::from_pairs(
        pairs
            .iter()
            .map(|(name, value)| (format!("POBLYSH_{name}"), (*value).to_owned())),
    );
    let mut reader = Reader::new(&env);
    let settings = ProviderSettings::from_reader(&mut reader);
    reader
        .finish()
        .map(|()| settings)
        .map_err(|error| error.to_string())
}
