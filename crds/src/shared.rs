//! A part of an object that is the same in many objects.

use std::{ops::Deref, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value that is held once however many objects have it, and cheap to clone. It never changes.
///
/// What is read is a value of its own; [`Shared::share`] makes one of two equal ones.
#[derive(Debug)]
pub struct Shared<T>(Arc<T>);

impl<T> Shared<T> {
    /// A value that is not shared yet.
    pub fn new(value: T) -> Self {
        Self(Arc::new(value))
    }

    /// Whether both are one value, not only equal ones.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T: PartialEq> Shared<T> {
    /// The other's value, when it is equal but not the same one: to be held in place of this one.
    pub fn share(&self, other: &Self) -> Option<Self> {
        (!self.is(other) && self.0 == other.0).then(|| other.clone())
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        self.is(other) || self.0 == other.0
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_become_one() {
        let (one, other) = (Shared::new("a".to_owned()), Shared::new("a".to_owned()));
        assert!(one == other && !one.is(&other));
        let shared = other.share(&one).unwrap();
        assert!(shared.is(&one));
        assert!(shared.share(&one).is_none(), "it is the same one already");
        assert!(Shared::new("b".to_owned()).share(&one).is_none());
    }

    #[test]
    fn it_reads_and_writes_as_its_value() {
        let value: Shared<Vec<u8>> = serde_json::from_str("[1,2]").unwrap();
        assert_eq!(*value, [1, 2]);
        assert_eq!(serde_json::to_string(&value).unwrap(), "[1,2]");
    }
}
