//! From a statement to a plan: names are resolved first (that may load a lake's
//! newest version), then DataFusion's SQL planner runs over what was found.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::catalog::{TableFunctionArgs, TableProvider};
use datafusion::common::{DFSchema, DataFusionError, Result as DataFusionResult, TableReference};
use datafusion::config::ConfigOptions;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF,
};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::parser::Statement as DFStatement;
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::Statement;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::dialect;
use crate::error::{Cause, FederationError};
use crate::extension::{SchemaContext, SchemaExtension};
use crate::functions::Library;
use crate::resolve::{Resolved, Scope, unavailable};
use crate::statement::{check_reads, match_column_case, parse};
use crate::system::SystemTables;
use crate::tables::{FederatedTable, LightTable};

/// How many saved queries may stand on one another.
const VIEW_DEPTH: usize = 16;

/// Everything one planning needs, detached from the session so that it can run on
/// another runtime.
#[derive(Clone)]
pub(crate) struct Planner {
    pub(crate) state: Arc<SessionState>,
    pub(crate) scope: Scope,
    pub(crate) context: SchemaContext,
    pub(crate) extensions: Vec<Arc<dyn SchemaExtension>>,
    pub(crate) sql_types: Option<Arc<dyn TypePlanner>>,
    pub(crate) system: SystemTables,
    pub(crate) library: Arc<Library>,
}

impl Planner {
    pub(crate) async fn plan(
        &self,
        statement: Statement,
        parameters: &[Option<DataType>],
    ) -> Result<LogicalPlan, FederationError> {
        self.plan_in(&self.scope, statement, parameters, &[]).await
    }

    /// Plans the SQL of a saved query.
    pub(crate) async fn plan_view(&self, name: &str, sql: &str) -> Result<LogicalPlan, FederationError> {
        self.expand(name, sql, &[]).await
    }

    async fn plan_in(
        &self,
        scope: &Scope,
        mut statement: Statement,
        parameters: &[Option<DataType>],
        views: &[String],
    ) -> Result<LogicalPlan, FederationError> {
        check_reads(&statement)?;
        dialect::rewrite(&mut statement)?;
        let wrapped = DFStatement::Statement(Box::new(statement.clone()));
        let (references, _) = resolve_table_references(&wrapped, true)?;
        drop(wrapped);
        let mut tables = HashMap::with_capacity(references.len());
        let mut columns = BTreeSet::new();
        for reference in references {
            let source = match self.table(scope, &reference, views).await {
                Ok(provider) => {
                    columns.extend(
                        provider
                            .schema()
                            .fields()
                            .iter()
                            .map(|field| field.name().clone()),
                    );
                    Ok(provider_as_source(provider))
                }
                // Only an error if the planner asks for it: the name of a table
                // function is visited as a table, too.
                Err(error) => Err(error),
            };
            tables.insert(reference, source);
        }
        match_column_case(&mut statement, &columns);
        let provider = Context {
            planner: self,
            tables,
        };
        let types: Vec<Option<FieldRef>> = parameters
            .iter()
            .enumerate()
            .map(|(index, data_type)| {
                let data_type = data_type.clone()?;
                Some(Arc::new(Field::new(format!("${}", index + 1), data_type, true)))
            })
            .collect();
        let mut context = PlannerContext::new().with_prepare_param_data_types(types);
        let planner = SqlToRel::new(&provider);
        let plan = planner.sql_statement_to_plan_with_context(statement, &mut context)?;
        Ok(dialect::settle(plan, &self.library, self.state.config_options())?)
    }

    async fn table(
        &self,
        scope: &Scope,
        reference: &TableReference,
        views: &[String],
    ) -> Result<Arc<dyn TableProvider>, FederationError> {
        let missing = || {
            FederationError::from(Cause::UnknownTable {
                relation: reference.to_string(),
            })
        };
        match scope.resolve(reference)? {
            Resolved::Source {
                catalog,
                schema,
                table,
            } => {
                let served = catalog.served.as_ref().ok_or_else(|| unavailable(&catalog))?;
                let inner = served.open(&schema, &table).await?.ok_or_else(missing)?;
                let served = Arc::clone(served);
                Ok(Arc::new(FederatedTable {
                    inner,
                    served,
                    schema,
                    table,
                }))
            }
            Resolved::System { table } => self
                .system
                .provider(&table)
                .map(|table| Arc::new(LightTable(table)) as Arc<dyn TableProvider>)
                .ok_or_else(missing),
            Resolved::View { name } => {
                let view = scope.snapshot.views.get(&name).ok_or_else(missing)?;
                let plan = self.expand(&name, &view.sql, views).await?;
                Ok(Arc::new(ViewTable::new(plan, Some(view.sql.clone()))))
            }
            Resolved::Extension {
                database,
                schema,
                table,
            } => {
                let context = SchemaContext {
                    database,
                    ..self.context.clone()
                };
                for extension in &self.extensions {
                    if let Some(provider) = extension.schema(&schema, &context) {
                        let table = provider.table(&table).await?;
                        return table
                            .map(|table| Arc::new(LightTable(table)) as Arc<dyn TableProvider>)
                            .ok_or_else(missing);
                    }
                }
                Err(missing())
            }
        }
    }

    /// The plan of a saved query. Its text is not the client's, so its errors carry no
    /// position.
    fn expand<'a>(
        &'a self,
        name: &'a str,
        sql: &'a str,
        outer: &'a [String],
    ) -> BoxFuture<'a, Result<LogicalPlan, FederationError>> {
        async move {
            if outer.iter().any(|view| view == name) {
                let path: Vec<&str> = outer.iter().map(String::as_str).chain([name]).collect();
                return Err(Cause::CyclicView {
                    view: name.into(),
                    path: path.join(" → "),
                }
                .into());
            }
            if outer.len() >= VIEW_DEPTH {
                return Err(Cause::TooComplex {
                    message: format!("view \"{name}\" stands on more than {VIEW_DEPTH} other views"),
                }
                .into());
            }
            let mut inside = outer.to_vec();
            inside.push(name.to_owned());
            let extensions = self.scope.extensions.clone();
            let scope = Scope::of_views(Arc::clone(&self.scope.snapshot), extensions);
            let planned = async {
                let mut statements = parse(sql)?;
                let (Some(statement @ Statement::Query(_)), true) = (statements.pop(), statements.is_empty())
                else {
                    return Err(Cause::Syntax {
                        message: "a view is one SELECT".into(),
                    }
                    .into());
                };
                self.plan_in(&scope, statement, &[], &inside).await
            };
            planned
                .await
                .map_err(|error: FederationError| match error.cause() {
                    Cause::CyclicView { .. }
                    | Cause::TooComplex { .. }
                    | Cause::BrokenView { .. }
                    | Cause::SourceUnavailable { .. } => error.without_location(),
                    _ => {
                        let broken = FederationError::from(Cause::BrokenView {
                            view: name.to_owned(),
                            message: error.to_string(),
                            sqlstate: error.sqlstate(),
                        });
                        match error.hint() {
                            Some(hint) => broken.with_hint(hint),
                            None => broken,
                        }
                    }
                })
        }
        .boxed()
    }
}

/// What DataFusion's SQL planner asks of us.
struct Context<'a> {
    planner: &'a Planner,
    tables: HashMap<TableReference, Result<Arc<dyn TableSource>, FederationError>>,
}

impl ContextProvider for Context<'_> {
    fn get_table_source(&self, name: TableReference) -> DataFusionResult<Arc<dyn TableSource>> {
        match self.tables.get(&name) {
            Some(Ok(source)) => Ok(Arc::clone(source)),
            Some(Err(error)) => Err(error.clone().into()),
            None => Err(FederationError::from(Cause::UnknownTable {
                relation: name.to_string(),
            })
            .into()),
        }
    }

    fn get_table_function_source(
        &self,
        name: &str,
        arguments: Vec<Expr>,
    ) -> DataFusionResult<Arc<dyn TableSource>> {
        let state = &self.planner.state;
        let known = if name == dialect::SERIES {
            "generate_series"
        } else {
            name
        };
        let function = state
            .table_functions()
            .get(&known.to_lowercase())
            .ok_or_else(|| {
                DataFusionError::from(FederationError::from(Cause::UnknownFunction {
                    function: name.to_owned(),
                }))
            })?;
        let mut moment = ExecutionProps::new();
        moment.mark_start_execution(Arc::clone(state.config_options()));
        let context = SimplifyContext::builder()
            .with_config_options(Arc::clone(state.config_options()))
            .with_query_execution_start_time(moment.query_execution_start_time)
            .build();
        let simplifier = ExprSimplifier::new(context);
        let schema = DFSchema::empty();
        let arguments = arguments
            .into_iter()
            .map(|argument| simplifier.simplify(simplifier.coerce(argument, &schema)?))
            .collect::<DataFusionResult<Vec<_>>>()?;
        let arguments = TableFunctionArgs::new(&arguments, state.as_ref());
        Ok(provider_as_source(
            function.create_table_provider_with_args(arguments)?,
        ))
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> DataFusionResult<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.planner.state.expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        self.planner.state.relation_planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(dialect::SqlTypes(self.planner.sql_types.clone())))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let known = self.planner.state.scalar_functions().get(name).cloned();
        known.or_else(|| self.planner.library.get(name))
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.planner.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.planner.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.planner.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.planner.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.planner.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.planner
            .state
            .higher_order_functions()
            .keys()
            .cloned()
            .collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.planner.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.planner.state.window_functions().keys().cloned().collect()
    }
}
