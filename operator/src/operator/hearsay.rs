//! Wakes those whose status tells of the health of stores, when that changes.
//!
//! Every store is looked at again and again, and most looks find what was known. Nobody is woken for the time of such a
//! look but the DataSource itself: an instance has a thousand Exports, and they would be looked at for nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use lakegate_crds::{Export, Kind};
use lakegate_federation::{SourceHealth, ViewHealth};
use lakegate_store::{Entry, Key};

use super::Inner;

/// Follows the surroundings until it is dropped.
pub(super) async fn follow_surroundings(inner: Arc<Inner>) {
    let mut changes = inner.surroundings.changes();
    let mut hearsay = Hearsay::default();
    loop {
        // The first time everything is news: it may have been told before anybody listened.
        changes.borrow_and_update();
        let sources = inner.cache.sources.keys(|_| true).into_iter();
        let views = inner.cache.views.keys(|_| true).into_iter();
        let news = hearsay.update(
            sources
                .filter_map(|key| Some((key.clone(), inner.surroundings.source_health(&key)?)))
                .collect(),
            views
                .filter_map(|key| Some((key.clone(), inner.surroundings.view_health(&key)?)))
                .collect(),
        );
        for key in news.sources {
            inner.wake(Kind::DataSource, key);
        }
        for key in news.views {
            inner.wake(Kind::View, key);
        }
        if !news.for_exports.is_empty() {
            for key in inner
                .cache
                .exports
                .keys(|export| names_one(export, &news.for_exports))
            {
                inner.wake(Kind::Export, key);
            }
        }
        if changes.changed().await.is_err() {
            break;
        }
    }
    // The federation is gone: what is known stays, until this task is ended with the others.
    std::future::pending::<()>().await;
}

/// Whether an Export reads from or writes to one of these.
fn names_one(export: &Entry<Export>, sources: &BTreeSet<Key>) -> bool {
    let Some(object) = export.object.as_deref() else {
        return false;
    };
    let source = object.spec.from.source_ref.iter();
    source
        .chain([&object.spec.destination.lake_ref])
        .any(|reference| sources.contains(&Key::new(&export.key.namespace, &reference.name)))
}

/// What the surroundings said when they were asked last.
#[derive(Debug, Default)]
struct Hearsay {
    sources: BTreeMap<Key, SourceHealth>,
    views: BTreeMap<Key, ViewHealth>,
}

/// Whom something concerns that was not known before.
#[derive(Debug, Default, PartialEq, Eq)]
struct News {
    /// DataSources.
    sources: Vec<Key>,

    /// Those of them whose Exports have something to tell, too.
    for_exports: BTreeSet<Key>,

    /// Views.
    views: Vec<Key>,
}

impl Hearsay {
    fn update(&mut self, sources: BTreeMap<Key, SourceHealth>, views: BTreeMap<Key, ViewHealth>) -> News {
        let mut news = News {
            sources: different(&self.sources, &sources),
            views: different(&self.views, &views),
            for_exports: BTreeSet::new(),
        };
        for key in &news.sources {
            if self.sources.get(key).map(told_of) != sources.get(key).map(told_of) {
                news.for_exports.insert(key.clone());
            }
        }
        (self.sources, self.views) = (sources, views);
        news
    }
}

/// What the status of an Export tells of a store: whether it answers, and why it does not.
fn told_of(health: &SourceHealth) -> (Option<bool>, Option<&str>) {
    let why = health.message.as_deref();
    (health.reachable, why.filter(|_| health.reachable == Some(false)))
}

/// The keys that do not stand for the same in both.
fn different<T: PartialEq>(before: &BTreeMap<Key, T>, after: &BTreeMap<Key, T>) -> Vec<Key> {
    let gone = before.keys().filter(|key| !after.contains_key(key));
    let new = after
        .iter()
        .filter(|(key, value)| before.get(key) != Some(value))
        .map(|(key, _)| key);
    gone.chain(new).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(reachable: bool, second: i64) -> SourceHealth {
        SourceHealth {
            reachable: Some(reachable),
            message: (!reachable).then(|| "refused".to_owned()),
            last_discovery: jiff::Timestamp::from_second(second).ok(),
            ..SourceHealth::default()
        }
    }

    fn said(name: &str, health: SourceHealth) -> BTreeMap<Key, SourceHealth> {
        BTreeMap::from([(Key::named(name), health)])
    }

    #[test]
    fn exports_are_told_whether_a_store_answers_and_nothing_else() {
        let mut hearsay = Hearsay::default();
        let mut hear = |sources| {
            let news = hearsay.update(sources, BTreeMap::new());
            (news.sources.len(), news.for_exports.len())
        };
        assert_eq!(
            hear(said("shop", health(true, 1))),
            (1, 1),
            "everything is news at first"
        );
        assert_eq!(hear(said("shop", health(true, 1))), (0, 0));
        assert_eq!(
            hear(said("shop", health(true, 2))),
            (1, 0),
            "another look, the same answer"
        );
        assert_eq!(hear(said("shop", health(false, 2))), (1, 1));
        let other_words = SourceHealth {
            message: Some("no route".to_owned()),
            ..health(false, 2)
        };
        assert_eq!(hear(said("shop", other_words)), (1, 1));
        assert_eq!(hear(BTreeMap::new()), (1, 1), "it is not served any more");
        assert_eq!(hear(BTreeMap::new()), (0, 0));
    }

    #[test]
    fn a_view_is_told_of_itself_alone() {
        let mut hearsay = Hearsay::default();
        let planned = |generation| ViewHealth {
            generation,
            ..ViewHealth::default()
        };
        let said = |one, other| {
            BTreeMap::from([
                (Key::named("one"), planned(one)),
                (Key::named("other"), planned(other)),
            ])
        };
        assert_eq!(hearsay.update(BTreeMap::new(), said(1, 1)).views.len(), 2);
        let news = hearsay.update(BTreeMap::new(), said(1, 2));
        assert_eq!(news.views, [Key::named("other")]);
    }
}
