//! Notices as people see them: `kubectl get events`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::{Api, api::ListParams};
use lakegate_crds::{Kind, conditions::Reason};
use lakegate_store::{Key, Notice, NoticeType, Notices};

use super::{open, shared};

fn notice(namespace: &str, second: i64, message: &str) -> Notice {
    Notice::new(
        Timestamp::from_second(1_790_000_000 + second).unwrap(),
        NoticeType::Warning,
        Kind::Export,
        Key::new(namespace, "orders"),
        "uid",
        Reason::AccessDenied,
        message,
    )
}

#[tokio::test]
async fn two_processes_count_one_event() {
    let client = shared().client().await;
    let namespace = shared().namespace().await;
    let one = open(client.clone(), &[&namespace]).await;
    let two = open(client.clone(), &[&namespace]).await;
    for second in 0..5 {
        one.publish(notice(&namespace, second, "the store refused")).await;
        two.publish(notice(&namespace, 100 + second, "the store refused"))
            .await;
        // Each sees what the other counted only when its own write is refused.
        one.list_notices().await.unwrap();
        two.list_notices().await.unwrap();
    }
    let events = Api::<Event>::namespaced(client, &namespace)
        .list(&ListParams::default())
        .await
        .unwrap()
        .items;
    assert_eq!(events.len(), 1);
    assert_eq!(
        (events[0].count, events[0].type_.as_deref()),
        (Some(10), Some("Warning"))
    );
    assert_eq!(events[0].involved_object.kind.as_deref(), Some("Export"));
    assert_eq!(events[0].reporting_component.as_deref(), Some("lakegate-test"));
    let known = &one.list_notices().await.unwrap()[0];
    assert_eq!(
        (known.count, known.first, known.last),
        (
            10,
            notice(&namespace, 0, "").last,
            notice(&namespace, 104, "").last
        )
    );
}

#[tokio::test]
async fn a_long_message_is_cut_and_not_lost() {
    let namespace = shared().namespace().await;
    let store = open(shared().client().await, &[&namespace]).await;
    store.publish(notice(&namespace, 0, &"é".repeat(2000))).await;
    let notices = store.list_notices().await.unwrap();
    let message = &notices[0].message;
    assert!(
        message.len() <= 1024 && message.ends_with('…'),
        "{}",
        message.len()
    );
}
