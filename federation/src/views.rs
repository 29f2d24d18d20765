//! Saved queries: which are served, and whether each one plans.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use lakegate_crds::View;
use lakegate_crds::conditions::Reason;
use lakegate_store::{Entry, Key};

use crate::Federation;
use crate::catalog::ViewDefinition;
use crate::error::{Cause, FederationError};
use crate::health::ViewHealth;
use crate::metadata::columns_of;
use crate::planner::PlannedView;
use crate::types;
use crate::unserved::first_problem;
use crate::view_parameters::Parameter;

/// A View with a good version.
#[derive(Debug, Clone)]
pub(crate) struct ViewEntry {
    key: Key,
    uid: String,
    generation: i64,
    name: String,
    sql: String,
    description: Option<String>,
    parameters: Vec<Parameter>,
    /// What is said of its columns, by name.
    column_comments: BTreeMap<String, String>,
    /// Why it is not served.
    refused: Option<(Reason, String)>,
}

/// The views of a store; of two with one name the oldest keeps it.
pub(crate) fn served_views(known: &BTreeMap<Key, Entry<View>>) -> Vec<ViewEntry> {
    let mut views: Vec<(Timestamp, ViewEntry)> = known
        .values()
        .filter_map(|entry| {
            let object = entry.object.as_ref()?;
            let created = object.metadata.creation_timestamp.as_ref().map(|time| time.0);
            let (parameters, unreadable) = match read_parameters(&object.spec.parameters) {
                Ok(parameters) => (parameters, None),
                Err(message) => (Vec::new(), Some((Reason::InvalidSpec, message))),
            };
            let refused = if object.spec.is_suspended() {
                Some((Reason::Suspended, "it is suspended".to_owned()))
            } else {
                first_problem(object.as_ref())
                    .map(|problem| (problem.reason, format!("{}: {}", problem.field, problem.message)))
                    .or(unreadable)
            };
            let described = object.spec.columns.iter().filter_map(|column| {
                let description = column.description.clone()?;
                Some((column.name.clone(), description))
            });
            let view = ViewEntry {
                key: entry.key.clone(),
                uid: entry.uid.clone(),
                generation: entry.generation,
                name: object.spec.sql_name(&entry.key.name),
                sql: object.spec.sql.clone(),
                description: object.spec.description.clone(),
                parameters,
                column_comments: described.collect(),
                refused,
            };
            Some((created.unwrap_or(Timestamp::MAX), view))
        })
        .collect();
    views.sort_by(|(left_time, left), (right_time, right)| {
        (left_time, &left.key).cmp(&(right_time, &right.key))
    });
    let mut owners: BTreeMap<String, Key> = BTreeMap::new();
    let mut all = Vec::with_capacity(views.len());
    for (_, mut view) in views {
        match owners.get(&view.name) {
            Some(owner) => {
                let message = format!(
                    "the name views.{} belongs to the older View {owner}; set another spec.name",
                    view.name
                );
                view.refused = Some((Reason::NameConflict, message));
            }
            None => {
                owners.insert(view.name.clone(), view.key.clone());
            }
        }
        all.push(view);
    }
    all
}

fn read_parameters(specs: &[lakegate_crds::ViewParameter]) -> Result<Vec<Parameter>, String> {
    let read = |(index, spec): (usize, &lakegate_crds::ViewParameter)| {
        Parameter::read(spec)
            .map_err(|(field, message)| format!("spec.parameters[{index}].{field}: {message}"))
    };
    specs.iter().enumerate().map(read).collect()
}

impl Federation {
    /// Serves these views, once and without keeping them up: for a worker, which lives as long as its run. A view that
    /// does not plan fails whoever names it.
    pub async fn attach_views(self: &Arc<Self>, views: Vec<View>) {
        let known = views.into_iter().map(|view| {
            let entry = Entry {
                key: Key::of(&view),
                status: None,
                rejected: None,
                is_held: false,
                deletion: None,
                uid: view.metadata.uid.clone().unwrap_or_default(),
                generation: view.metadata.generation.unwrap_or_default(),
                object: Some(Arc::new(view)),
            };
            (entry.key.clone(), entry)
        });
        refresh_views(self, served_views(&known.collect())).await;
    }
}

async fn plan(
    federation: &Arc<Federation>,
    view: Option<&Arc<ViewDefinition>>,
) -> Result<PlannedView, FederationError> {
    match view {
        Some(view) => federation.plan_view(view).await,
        None => Err(FederationError::internal(
            "a View that is served has no definition",
        )),
    }
}

/// Serves the views, plans each against the catalogs as they are, and records what
/// came of it. A view that does not plan stays: naming it gives its error.
pub(crate) async fn refresh_views(federation: &Arc<Federation>, views: Vec<ViewEntry>) {
    let old = federation.catalogs().current();
    let mut definitions: BTreeMap<String, Arc<ViewDefinition>> = BTreeMap::new();
    for view in views.iter().filter(|view| view.refused.is_none()) {
        // until it has been planned a view shows the columns it had
        let columns = old
            .views
            .get(&view.name)
            .map(|old| old.columns.clone())
            .unwrap_or_default();
        let definition = ViewDefinition {
            name: view.name.clone(),
            sql: view.sql.clone(),
            description: view.description.clone(),
            parameters: view.parameters.clone(),
            columns,
        };
        definitions.insert(view.name.clone(), Arc::new(definition));
    }
    federation.catalogs().set_views(definitions.clone());
    let mut health: BTreeMap<Key, ViewHealth> = BTreeMap::new();
    for view in views {
        let mut told = ViewHealth {
            uid: view.uid.clone(),
            generation: view.generation,
            ..ViewHealth::default()
        };
        match view.refused {
            Some((reason, message)) => {
                told.reason = Some(reason);
                told.message = Some(message);
            }
            None => match plan(federation, definitions.get(&view.name)).await {
                Ok(planned) => {
                    let mut columns = columns_of(&planned.schema);
                    for column in &mut columns {
                        column.comment = view.column_comments.get(&column.name).cloned();
                    }
                    let fields = planned.schema.fields().iter();
                    told.columns = fields
                        .map(|field| (field.name().clone(), types::of_field(field).sql_name()))
                        .collect();
                    told.dependencies = planned.dependencies;
                    let has = |name: &String| columns.iter().any(|column| column.name == *name);
                    let described = view.column_comments.keys();
                    told.unknown_columns = described.filter(|name| !has(name)).cloned().collect();
                    if let Some(definition) = definitions.get_mut(&view.name) {
                        Arc::make_mut(definition).columns = columns;
                    }
                }
                // Nothing is known of it yet: what was said of it before, in an earlier process, stands until then.
                Err(error)
                    if matches!(
                        error.cause(),
                        Cause::SourceUnavailable { source_name, .. }
                            if federation.catalogs().current().is_being_connected(source_name)
                    ) =>
                {
                    continue;
                }
                Err(error) => {
                    told.reason = Some(match error.cause() {
                        Cause::SourceUnavailable { .. } => Reason::SourceNotReady,
                        _ => Reason::PlanFailed,
                    });
                    told.message = Some(match error.hint() {
                        Some(hint) => format!("{error}. {hint}"),
                        None => error.to_string(),
                    });
                }
            },
        }
        health.insert(view.key, told);
    }
    federation.catalogs().set_views(definitions);
    federation.health_map().set_views(health);
}
