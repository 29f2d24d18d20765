//! `lakegate delete export/NAME`: what becomes of the table of an Export whose manifest is gone, without waiting.

use std::process::ExitCode;

use lakegate_crds::Kind;
use lakegate_store::Key;

use super::{Failure, instance::Instance, small_runtime};
use crate::{
    cli::StateOptions,
    control::{self, Deletion, parse_resource},
};

pub fn delete(resource: &str, keep_data: bool, state: &StateOptions) -> Result<ExitCode, Failure> {
    let (kind, export) = parse_resource(resource)?;
    if kind != Kind::Export {
        return Err(format!(
            "a {kind} is deleted with its manifest: only an export, such as export/orders, may have data that goes later"
        )
        .into());
    }
    let deletion = Deletion {
        namespace: export.namespace.clone(),
        export: export.name.clone(),
        keep_data,
    };
    let is_running = small_runtime()?.block_on(async {
        match Instance::find(state).await? {
            Instance::Running(client) => {
                client.delete(&deletion).await?;
                Ok::<_, Failure>(true)
            }
            Instance::Stopped(store) => {
                let decided = control::decide_deletion(&store, &deletion).await;
                store.close().await;
                decided?;
                Ok(false)
            }
        }
    })?;
    println!("{}", told(&export, keep_data, is_running));
    Ok(ExitCode::SUCCESS)
}

fn told(export: &Key, keep_data: bool, is_running: bool) -> String {
    match (keep_data, is_running) {
        (true, _) => format!("export/{export} is gone; its table stays"),
        (false, true) => format!(
            "the table of export/{export} is being removed: `lakegate describe export/{export}` says how far it is, until it is gone"
        ),
        (false, false) => format!("the table of export/{export} is removed by the next `lakegate serve`"),
    }
}
