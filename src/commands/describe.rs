//! `lakegate describe KIND/NAME`.

use std::{fmt::Write as _, process::ExitCode};

use jiff::Timestamp;
use lakegate_crds::Kind;
use lakegate_store::Key;
use serde_json::Value;

use super::{Failure, instance::Instance, small_runtime};
use crate::{
    cli::StateOptions,
    control::{NoticeView, ObjectView, parse_resource},
    table,
};

pub fn describe(resource: &str, state: &StateOptions) -> Result<ExitCode, Failure> {
    let (kind, key) = parse_resource(resource)?;
    let (objects, notices) = small_runtime()?.block_on(async {
        let instance = Instance::find(state).await?;
        Ok::<_, Failure>((instance.objects(kind).await?, instance.notices().await?))
    })?;
    let view = objects
        .iter()
        .find(|view| {
            let namespace = view
                .object
                .pointer("/metadata/namespace")
                .and_then(Value::as_str)
                .unwrap_or("default");
            view.name() == key.name && namespace == key.namespace
        })
        .ok_or_else(|| format!("there is no {kind} named {key}"))?;
    print!("{}", text(view, kind, &key, &notices, Timestamp::now())?);
    Ok(ExitCode::SUCCESS)
}

fn text(
    view: &ObjectView,
    kind: Kind,
    key: &Key,
    notices: &[NoticeView],
    now: Timestamp,
) -> Result<String, Failure> {
    let mut text = String::new();
    writeln!(text, "Name:       {}", key.name)?;
    writeln!(text, "Namespace:  {}", key.namespace)?;
    writeln!(text, "Kind:       {kind}")?;
    for (title, pointer) in [
        ("UID:        ", "/metadata/uid"),
        ("Created:    ", "/metadata/creationTimestamp"),
    ] {
        if let Some(value) = view.object.pointer(pointer).and_then(Value::as_str) {
            writeln!(text, "{title}{value}")?;
        }
    }
    if let Some(rejected) = &view.rejected {
        writeln!(text, "Rejected:   {rejected}")?;
    }
    for part in ["spec", "status"] {
        let mut value = view.object.get(part).cloned().unwrap_or_default();
        if let Value::Object(fields) = &mut value {
            fields.shift_remove("conditions");
        }
        if !value.is_null() {
            writeln!(text, "{}:", if part == "spec" { "Spec" } else { "Status" })?;
            for line in serde_yaml::to_string(&value)?.lines() {
                writeln!(text, "  {line}")?;
            }
        }
    }
    let conditions = view
        .object
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    writeln!(text, "Conditions:")?;
    for condition in conditions.into_iter().flatten() {
        let field = |name: &str| condition.get(name).and_then(Value::as_str).unwrap_or_default();
        writeln!(
            text,
            "  {:<18} {:<8} {:<22} {}",
            field("type"),
            field("status"),
            field("reason"),
            field("message")
        )?;
    }
    writeln!(text, "Events:")?;
    for notice in notices
        .iter()
        .filter(|notice| notice.kind == kind && notice.name == key.name && notice.namespace == key.namespace)
    {
        let times = if notice.count > 1 {
            format!(" (x{})", notice.count)
        } else {
            String::new()
        };
        writeln!(
            text,
            "  {:<8} {:<18} {:>5} ago{times}  {}",
            notice.notice_type,
            notice.reason,
            table::age(notice.last, now),
            notice.message
        )?;
    }
    Ok(text)
}
