//! Object identifiers that are the same in every process that serves the same names.
//!
//! Clients cache OIDs, and connections of one client may reach different gateways: a counter would mix them up.
//! An OID is a hash of what it names; the rare collision is settled in the order of the names.

use std::collections::{BTreeSet, HashMap};

use sha2::{Digest as _, Sha256};

/// The first OID of user objects (`FirstNormalObjectId` in PostgreSQL).
const FIRST: u64 = 16_384;
/// OIDs stay below 2^31, since some clients read them as a signed integer.
const SPACE: u64 = (1 << 31) - FIRST;

/// What an OID names: its kind and path, such as `["table", "shop", "public", "orders"]`.
pub type Path = Vec<String>;

/// OIDs of a set of objects.
#[derive(Debug, Default)]
pub struct Oids {
    assigned: HashMap<Path, i64>,
}

impl Oids {
    /// Assign an OID to each path. The same set gives the same OIDs whatever its order.
    pub fn assign(paths: impl IntoIterator<Item = Path>) -> Self {
        let paths: BTreeSet<Path> = paths.into_iter().collect();
        let mut taken = BTreeSet::new();
        let mut assigned = HashMap::with_capacity(paths.len());
        for path in paths {
            let mut attempt = 0_u32;
            let oid = loop {
                let candidate = hash(&path, attempt);
                if taken.insert(candidate) {
                    break candidate;
                }
                attempt += 1;
            };
            assigned.insert(path, oid);
        }
        Self { assigned }
    }

    /// The OID of a path, 0 (`InvalidOid`) for one that was not in the set.
    pub fn get(&self, path: &[&str]) -> i64 {
        let path: Path = path.iter().map(|part| (*part).to_owned()).collect();
        self.assigned.get(&path).copied().unwrap_or_default()
    }
}

fn hash(path: &[String], attempt: u32) -> i64 {
    let mut digest = Sha256::new();
    for part in path {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.update(attempt.to_be_bytes());
    let bytes = digest.finalize();
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[..8]);
    // Below 2^31: the cast keeps every bit.
    (FIRST + u64::from_be_bytes(number) % SPACE) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oids_depend_on_names_alone() {
        let path = |name: &str| {
            vec![
                "table".to_owned(),
                "shop".to_owned(),
                "public".to_owned(),
                name.to_owned(),
            ]
        };
        let one = Oids::assign([path("orders"), path("items")]);
        let other = Oids::assign([path("items"), path("customers"), path("orders")]);
        let orders = ["table", "shop", "public", "orders"];
        assert_eq!(one.get(&orders), other.get(&orders));
        assert!(one.get(&orders) >= 16_384);
        assert_ne!(one.get(&orders), one.get(&["table", "shop", "public", "items"]));
        assert_eq!(one.get(&["table", "shop", "public", "nowhere"]), 0);
    }
}
