//! What an Export's status says about columns that look personal.

use lakegate_crds::{ExportSpec, ExportStatus};

/// Which columns of the published table look personal, in words. What has been masked, left out or acknowledged since
/// counts at once, though the table is as the last run left it.
pub(super) fn personal_columns(spec: &ExportSpec, status: &ExportStatus) -> Option<String> {
    let is_open = |name: &str| {
        let column = spec
            .columns
            .iter()
            .flatten()
            .find(|column| column.output_name() == Some(name));
        let is_clear = match (&spec.columns, &spec.all_columns) {
            (Some(_), _) => column.is_some_and(|column| column.mask.is_none()),
            (None, Some(all)) => !all.except.iter().any(|except| except == name),
            (None, None) => true,
        };
        is_clear && !spec.acknowledge_personal.iter().any(|known| known == name)
    };
    let open: Vec<String> = status
        .personal_columns
        .iter()
        .filter(|column| is_open(&column.name))
        .map(|column| format!("{} ({})", column.name, column.holds))
        .collect();
    (!open.is_empty()).then(|| {
        format!(
            "columns look personal and are exported in the clear: {}; mask or leave them out, or name them in \
             spec.acknowledgePersonal",
            open.join(", ")
        )
    })
}
