//! `lakegate get KIND [NAME]`.

use std::process::ExitCode;

use jiff::Timestamp;
use lakegate_crds::Kind;
use serde_json::{Value, json};

use super::{Failure, instance::Instance, small_runtime};
use crate::{
    cli::{Output, StateOptions},
    control::ObjectView,
    table::{self, Column},
};

pub fn get(
    kind: &str,
    name: Option<&str>,
    output: Output,
    state: &StateOptions,
) -> Result<ExitCode, Failure> {
    let kind: Kind = kind.parse()?;
    let mut objects =
        small_runtime()?.block_on(async { Instance::find(state).await?.objects(kind).await })?;
    if let Some(name) = name {
        objects.retain(|view| view.name() == name);
        if objects.is_empty() {
            return Err(format!("there is no {kind} named {name}").into());
        }
    }
    match output {
        Output::Table if objects.is_empty() => eprintln!("There are no {kind} objects."),
        Output::Table => {
            let values: Vec<Value> = objects.iter().map(|view| view.object.clone()).collect();
            print!("{}", table::render(&columns(kind), &values, Timestamp::now()));
        }
        Output::Json => println!(
            "{}",
            serde_json::to_string_pretty(&document(name, objects.clone()))?
        ),
        Output::Yaml => print!("{}", serde_yaml::to_string(&document(name, objects.clone()))?),
    }
    for view in &objects {
        if let Some(rejected) = &view.rejected {
            eprintln!(
                "{kind}/{}: the newest edit is refused, the last good version stays: {rejected}",
                view.name()
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One object alone, several as a List, as kubectl prints them.
fn document(name: Option<&str>, mut objects: Vec<ObjectView>) -> Value {
    if name.is_some() && objects.len() == 1 {
        objects.remove(0).object
    } else {
        let items: Vec<Value> = objects.into_iter().map(|view| view.object).collect();
        json!({"apiVersion": "v1", "kind": "List", "items": items})
    }
}

/// The name, then the printer columns that kubectl shows without `-o wide`.
fn columns(kind: Kind) -> Vec<Column> {
    let mut columns = vec![Column {
        title: "Name".into(),
        path: ".metadata.name".into(),
        is_date: false,
    }];
    for definition in lakegate_crds::crds() {
        if definition.spec.names.kind != kind.to_string() {
            continue;
        }
        for version in definition.spec.versions {
            for column in version.additional_printer_columns.unwrap_or_default() {
                if column.priority.unwrap_or_default() == 0 {
                    columns.push(Column {
                        title: column.name,
                        path: column.json_path,
                        is_date: column.type_ == "date",
                    });
                }
            }
        }
    }
    columns
}
