//! From ConfigMaps or the spec to one set of files. Pure.

use std::collections::BTreeMap;

use crate::api::BundleStatus;
use crate::engine::{self, SourceFile};

/// Keys of a ConfigMap that are files end like this; others (a README, a kustomization) are left alone.
const SUFFIX: &str = ".sql";

/// What a ConfigMap holds.
pub type Keys = BTreeMap<String, Vec<u8>>;

/// The files of a migration, by name and digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// SHA-256 of the lines `<sha256>  <file name>\n` in byte order of the names.
    pub digest: String,
    /// The file names, sorted.
    pub versions: Vec<String>,
}

impl Listing {
    /// The names and the digest of these files.
    #[must_use]
    pub fn of(files: &[SourceFile]) -> Self {
        let mut versions: Vec<String> = files.iter().map(|file| file.name.clone()).collect();
        versions.sort();
        Self {
            digest: engine::digest(files),
            versions,
        }
    }

    /// As the status shows it.
    #[must_use]
    pub fn bundle(&self) -> BundleStatus {
        BundleStatus {
            digest: self.digest.clone(),
            file_count: i32::try_from(self.versions.len()).unwrap_or(i32::MAX),
        }
    }
}

/// What was found where the files should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Files {
    /// Not looked at.
    #[default]
    Unread,
    /// These ConfigMaps do not exist.
    Missing(Vec<String>),
    /// They make no set, for this reason.
    Rejected(String),
    /// The files.
    Listed(Listing),
}

/// Puts the files of several ConfigMaps together.
///
/// # Errors
/// A file that is in two of them, because nobody knows which one is meant; no file at all.
pub fn merge(maps: Vec<(String, Keys)>) -> Result<Vec<SourceFile>, String> {
    let names: Vec<String> = maps.iter().map(|(name, _)| name.clone()).collect();
    let mut files: BTreeMap<String, (String, Vec<u8>)> = BTreeMap::new();
    for (map, keys) in maps {
        for (key, bytes) in keys.into_iter().filter(|(key, _)| key.ends_with(SUFFIX)) {
            if let Some((other, _)) = files.insert(key.clone(), (map.clone(), bytes)) {
                return Err(format!(
                    "{key} is in both ConfigMaps {other} and {map}: remove it from one of them"
                ));
            }
        }
    }
    if files.is_empty() {
        let names = names.join(", ");
        return Err(format!(
            "no key of ConfigMap {names} ends in {SUFFIX}: keys are file names"
        ));
    }
    let file = |(name, (_, bytes))| SourceFile { name, bytes };
    Ok(files.into_iter().map(file).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(name: &str, keys: &[&str]) -> (String, Keys) {
        let keys = keys
            .iter()
            .map(|key| ((*key).to_owned(), b"SELECT 1".to_vec()));
        (name.to_owned(), keys.collect())
    }

    #[test]
    fn files_of_several_maps_are_one_set_whatever_their_order() {
        let one = merge(vec![
            map("a", &["002_b.sql", "README.md"]),
            map("b", &["001_a.sql"]),
        ]);
        let two = merge(vec![map("b", &["001_a.sql"]), map("a", &["002_b.sql"])]);
        assert_eq!(one, two);
        let listing = Listing::of(&one.unwrap());
        assert_eq!(listing.versions, ["001_a.sql", "002_b.sql"]);
        // printf 'SELECT 1' > 001_a.sql; cp 001_a.sql 002_b.sql; sha256sum *.sql | sha256sum
        assert!(listing.digest.starts_with("sha256:"));
    }

    #[test]
    fn a_file_in_two_maps_names_both() {
        let maps = vec![map("a", &["001_a.sql"]), map("b", &["001_a.sql"])];
        let message = merge(maps).unwrap_err();
        for part in ["001_a.sql", "ConfigMaps a and b"] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn a_map_without_files_is_a_mistake() {
        let message = merge(vec![map("a", &["README.md"])]).unwrap_err();
        assert!(message.contains("ConfigMap a"), "{message}");
    }
}
