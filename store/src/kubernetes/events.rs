//! Notices as Kubernetes Events: one Event for each notice, however often it is published.
//!
//! An Event tells people and decides nothing, so it is written beside the work, not within it: [`EventLog::publish`]
//! queues, a task writes. What waits is counted together, so a notice that comes a hundred times while the API server
//! is away costs one write.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use lakegate_crds::{API_VERSION, DEFAULT_NAMESPACE, Kind};
use serde_json::json;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::error::{Request, answer, is_terminating};
use crate::{Key, Notice, NoticeType, StoreError, error::chain, notices::NOTICES_KEPT};

/// The API server refuses a longer text.
const LONGEST_NOTE: usize = 1024;

/// Events written at the same time.
const WRITES: usize = 8;

/// Attempts to write one, with a pause that doubles between them.
const ATTEMPTS: u32 = 5;

/// The first such pause.
const PAUSE: Duration = Duration::from_millis(500);

/// How long a reader waits for what waits to be written.
const FLUSH_PATIENCE: Duration = Duration::from_secs(30);

/// The mark by which Lakegate's Events are found again.
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "lakegate");

pub(super) struct EventLog {
    client: Client,
    namespaces: Vec<String>,
    queue: Arc<Queue>,
}

/// What is to be written.
struct Queue {
    waiting: Mutex<Waiting>,
    wake: Notify,
    /// Notices that are not written yet.
    unwritten: watch::Sender<usize>,
}

#[derive(Default)]
struct Waiting {
    order: VecDeque<String>,
    notices: HashMap<String, Notice>,
}

impl EventLog {
    /// A log, and the task that writes it, which ends when it is dropped.
    pub fn new(
        client: Client,
        namespaces: Vec<String>,
        component: String,
    ) -> (Self, impl Future<Output = ()>) {
        let queue = Arc::new(Queue {
            waiting: Mutex::default(),
            wake: Notify::new(),
            unwritten: watch::Sender::new(0),
        });
        let writer = Writer {
            client: client.clone(),
            component,
            known: Mutex::default(),
        };
        let write = write(Arc::clone(&queue), writer);
        (
            Self {
                client,
                namespaces,
                queue,
            },
            write,
        )
    }

    /// Queues a notice. One too many pushes out the oldest that waits.
    pub fn publish(&self, notice: Notice) {
        let dropped = {
            let mut waiting = self.queue.lock();
            let name = event_name(&notice);
            match waiting.notices.get_mut(&name) {
                Some(known) => {
                    merge(known, &notice);
                    return;
                }
                None => {
                    let oldest = (waiting.order.len() >= NOTICES_KEPT).then(|| waiting.order.pop_front());
                    waiting.order.push_back(name.clone());
                    waiting.notices.insert(name, notice);
                    oldest
                        .flatten()
                        .and_then(|oldest| waiting.notices.remove(&oldest))
                }
            }
        };
        match dropped {
            Some(notice) => lost(&notice, "too many wait to be written"),
            None => self.queue.unwritten.send_modify(|unwritten| *unwritten += 1),
        }
        self.queue.wake.notify_one();
    }

    /// Waits until everything published so far is written, or given up.
    pub async fn flush(&self) {
        let mut unwritten = self.queue.unwritten.subscribe();
        let written = unwritten.wait_for(|unwritten| *unwritten == 0);
        if tokio::time::timeout(FLUSH_PATIENCE, written).await.is_err() {
            tracing::warn!("the API server does not take Events; those that wait are not shown");
        }
    }

    pub async fn list(&self) -> Result<Vec<Notice>, StoreError> {
        self.flush().await;
        let (label, value) = MANAGED_BY;
        let parameters = ListParams::default().labels(&format!("{label}={value}"));
        let mut notices = Vec::new();
        for namespace in &self.namespaces {
            let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
            let events = answer(api.list(&parameters))
                .await
                .map_err(|error| Request::foreign("list", "", "events", namespace, None).failed(error))?;
            notices.extend(events.items.iter().filter_map(notice_of));
        }
        notices.sort_by_key(|notice| std::cmp::Reverse((notice.last, notice.first)));
        notices.truncate(NOTICES_KEPT);
        Ok(notices)
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<(String, Notice)> {
        let mut waiting = self.lock();
        let name = waiting.order.pop_front()?;
        let notice = waiting.notices.remove(&name)?;
        Some((name, notice))
    }
}

async fn write(queue: Arc<Queue>, writer: Writer) {
    let mut writes = FuturesUnordered::new();
    loop {
        while writes.len() < WRITES
            && let Some((name, notice)) = queue.take()
        {
            writes.push(writer.write(name, notice));
        }
        tokio::select! {
            Some(()) = writes.next() => queue.unwritten.send_modify(|unwritten| *unwritten -= 1),
            () = queue.wake.notified(), if writes.len() < WRITES => {}
        }
    }
}

struct Writer {
    client: Client,
    component: String,
    /// What is known of Events in the cluster, by name.
    known: Mutex<BTreeMap<String, Known>>,
}

#[derive(Clone)]
struct Known {
    version: Option<String>,
    notice: Notice,
}

impl Writer {
    async fn write(&self, name: String, notice: Notice) {
        let mut pause = PAUSE;
        for attempt in 1..=ATTEMPTS {
            let error = match self.try_write(&name, &notice).await {
                Ok(true) => return,
                // Another process counted at the same time.
                Ok(false) => continue,
                Err(kube::Error::Api(status)) if is_terminating(&status) => return,
                Err(error) => error,
            };
            let is_refused = matches!(&error, kube::Error::Api(status) if matches!(status.code, 400..=428));
            if is_refused || attempt == ATTEMPTS {
                let request = Request::foreign("create", "", "events", &notice.key.namespace, Some(&name));
                lost(&notice, &chain(&request.failed(error)));
                return;
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        lost(&notice, "other processes count it all the time");
    }

    /// Counts a notice in the cluster, or creates its Event. False: what was known of it is old, try again.
    async fn try_write(&self, name: &str, notice: &Notice) -> kube::Result<bool> {
        let namespace = &notice.key.namespace;
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let known = self.lock().get(name).cloned();
        let Some(known) = known else {
            let event = event_of(name, notice, &self.component);
            return match answer(api.create(&PostParams::default(), &event)).await {
                Ok(created) => {
                    self.remember(name, &created, notice);
                    Ok(true)
                }
                Err(kube::Error::Api(status)) if status.is_already_exists() => {
                    if let Some(event) = answer(api.get_opt(name)).await? {
                        self.remember(name, &event, notice);
                    }
                    Ok(false)
                }
                Err(error) => Err(error),
            };
        };
        let mut counted = known.notice;
        merge(&mut counted, notice);
        // The version makes the API server refuse a count that another process has overtaken.
        let patch = json!({
            "metadata": {"resourceVersion": known.version},
            "count": counted_as(counted.count),
            "firstTimestamp": Time(counted.first),
            "lastTimestamp": Time(counted.last),
        });
        match answer(api.patch(name, &PatchParams::default(), &Patch::Merge(&patch))).await {
            Ok(patched) => {
                self.remember(name, &patched, &counted);
                Ok(true)
            }
            // The API server forgets Events after a while.
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {
                self.lock().remove(name);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, name: &str, event: &Event, notice: &Notice) {
        let known = Known {
            version: event.metadata.resource_version.clone(),
            notice: notice_of(event).unwrap_or_else(|| notice.clone()),
        };
        let mut all = self.lock();
        all.insert(name.to_owned(), known);
        if all.len() > NOTICES_KEPT {
            let oldest = all
                .iter()
                .min_by_key(|(_, known)| known.notice.last)
                .map(|(name, _)| name.clone());
            if let Some(oldest) = oldest {
                all.remove(&oldest);
            }
        }
    }
}

fn lost(notice: &Notice, error: &str) {
    let Notice {
        kind,
        key,
        reason,
        message,
        ..
    } = notice;
    tracing::error!(%kind, %key, reason, message, error, "a notice could not be kept");
}

/// Counts `more`, which is the same notice, into `notice`.
fn merge(notice: &mut Notice, more: &Notice) {
    notice.count = notice.count.saturating_add(more.count);
    notice.first = notice.first.min(more.first);
    notice.last = notice.last.max(more.last);
}

/// Name of the Event of a notice, the same in every process.
fn event_name(notice: &Notice) -> String {
    let same = [
        notice.kind.as_str(),
        &notice.key.namespace,
        &notice.key.name,
        &notice.uid,
        notice.notice_type.as_str(),
        &notice.reason,
        &notice.message,
    ];
    let digest = Uuid::new_v5(&Uuid::NAMESPACE_URL, same.join("\0").as_bytes()).simple();
    // A name has at most 253 characters.
    let object = notice.key.name.get(..200).unwrap_or(&notice.key.name);
    format!("{}.{digest}", object.trim_end_matches(['-', '.']))
}

fn event_of(name: &str, notice: &Notice, component: &str) -> Event {
    let (label, value) = MANAGED_BY;
    Event {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(notice.key.namespace.clone()),
            labels: Some([(label.to_owned(), value.to_owned())].into()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(API_VERSION.to_owned()),
            kind: Some(notice.kind.to_string()),
            namespace: Some(notice.key.namespace.clone()),
            name: Some(notice.key.name.clone()),
            uid: Some(notice.uid.clone()),
            ..ObjectReference::default()
        },
        type_: Some(notice.notice_type.to_string()),
        reason: Some(notice.reason.clone()),
        message: Some(cut(&notice.message)),
        count: Some(counted_as(notice.count)),
        first_timestamp: Some(Time(notice.first)),
        last_timestamp: Some(Time(notice.last)),
        source: Some(EventSource {
            component: Some(component.to_owned()),
            host: None,
        }),
        reporting_component: Some(component.to_owned()),
        ..Event::default()
    }
}

/// The notice that an Event is; `None` for one that tells of none of our objects.
fn notice_of(event: &Event) -> Option<Notice> {
    let object = &event.involved_object;
    let first = event
        .first_timestamp
        .as_ref()
        .map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    Some(Notice {
        kind: object.kind.as_deref()?.parse::<Kind>().ok()?,
        key: Key::new(
            object.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE),
            object.name.as_deref()?,
        ),
        uid: object.uid.clone().unwrap_or_default(),
        notice_type: match event.type_.as_deref() {
            Some("Warning") => NoticeType::Warning,
            _ => NoticeType::Normal,
        },
        reason: event.reason.clone().unwrap_or_default(),
        message: event.message.clone().unwrap_or_default(),
        count: event
            .count
            .and_then(|count| u64::try_from(count).ok())
            .unwrap_or(1)
            .max(1),
        first,
        last: event.last_timestamp.as_ref().map_or(first, |time| time.0),
    })
}

fn counted_as(count: u64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// A text that the API server takes.
fn cut(text: &str) -> String {
    const MARK: &str = "…";
    if text.len() <= LONGEST_NOTE {
        return text.to_owned();
    }
    let end = (0..=LONGEST_NOTE - MARK.len())
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or(0);
    format!("{}{MARK}", &text[..end])
}

#[cfg(test)]
mod tests {
    use lakegate_crds::conditions::Reason;

    use super::*;

    fn notice(name: &str, message: &str) -> Notice {
        Notice::new(
            Timestamp::from_second(1_790_000_000).unwrap(),
            NoticeType::Warning,
            Kind::Export,
            Key::new("shop", name),
            "uid",
            Reason::AccessDenied,
            message,
        )
    }

    #[test]
    fn an_event_is_read_back_as_the_notice_that_it_is() {
        let notice = Notice {
            count: 3,
            ..notice("orders", "the store refused")
        };
        let event = event_of(&event_name(&notice), &notice, "lakegate-operator");
        assert_eq!(notice_of(&event).unwrap(), notice);
    }

    #[test]
    fn names_are_those_of_any_process_and_valid() {
        let name = event_name(&notice("orders", "a"));
        assert_eq!(name, event_name(&notice("orders", "a")));
        assert_ne!(name, event_name(&notice("orders", "b")));
        assert!(name.starts_with("orders."), "{name}");
        let long = event_name(&notice(&format!("{}.b", "a".repeat(199)), "a"));
        assert!(long.len() <= 253 && !long.contains(".."), "{long}");
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        for text in [
            "a".repeat(5000),
            "é".repeat(600),
            "x".to_owned() + &"日".repeat(900),
        ] {
            let cut = cut(&text);
            assert!(cut.len() <= LONGEST_NOTE && cut.ends_with('…'), "{}", cut.len());
            assert!(cut.len() > LONGEST_NOTE - 8);
        }
        assert_eq!(cut("short"), "short");
    }
}
