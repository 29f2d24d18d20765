//! From a statement to a plan: names are resolved first (that may load a lake's
//! newest version), then DataFusion's SQL planner runs over what was found.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
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
    AggregateUDF, Expr, ExprSchemable, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF,
};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::parser::Statement as DFStatement;
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::{Expr as AstExpr, Statement};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::catalog::ViewDefinition;
use crate::dialect;
use crate::error::{Cause, FederationError};
use crate::extension::{SchemaContext, SchemaExtension};
use crate::functions::Library;
use crate::metadata::{SYSTEM_SCHEMA, VIEWS_SCHEMA};
use crate::resolve::{Resolved, Scope, unavailable};
use crate::statement::{check_reads, match_column_case, parse};
use crate::system::SystemTables;
use crate::tables::{FederatedTable, LightTable};
use crate::types;
use crate::view_call::{self, Call};
use crate::view_parameters;

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
    /// Where the tables and Views that a View names are noted while it is planned.
    pub(crate) named: Option<Arc<Mutex<BTreeSet<String>>>>,
}

/// A View as it plans.
pub(crate) struct PlannedView {
    pub(crate) schema: SchemaRef,
    /// What its query names: `catalog.schema.table`, `views.name`, `lakegate.table`; sorted.
    pub(crate) dependencies: Vec<String>,
}

impl Planner {
    pub(crate) async fn plan(
        &self,
        statement: Statement,
        parameters: &[Option<DataType>],
    ) -> Result<LogicalPlan, FederationError> {
        self.plan_in(&self.scope, statement, parameters, &[]).await
    }

    /// Plans a saved query by itself: its parameters are NULL, and its defaults must be values of their types.
    pub(crate) async fn plan_view(&self, view: &Arc<ViewDefinition>) -> Result<PlannedView, FederationError> {
        let named = Arc::new(Mutex::new(BTreeSet::new()));
        let planner = Self {
            named: Some(Arc::clone(&named)),
            ..self.clone()
        };
        if !view.parameters.is_empty() {
            planner
                .check_values(&view_call::default_call(view), &[], &[])
                .await?;
        }
        let nulls = view_parameters::nulls(&view.parameters);
        let plan = planner.expand(view, &nulls, &[], &[]).await?;
        let dependencies = std::mem::take(&mut *named.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(PlannedView {
            schema: Arc::clone(plan.schema().inner()),
            dependencies: dependencies.into_iter().collect(),
        })
    }

    async fn plan_in(
        &self,
        scope: &Scope,
        mut statement: Statement,
        parameters: &[Option<DataType>],
        views: &[String],
    ) -> Result<LogicalPlan, FederationError> {
        check_reads(&statement)?;
        let functions = self.state.table_functions();
        let is_function = |name: &str| dialect::returns_rows(name) || functions.contains_key(name);
        let calls = view_call::take(&mut statement, scope, &is_function)?;
        let mut parameters = parameters.to_vec();
        for (number, pg_type) in calls.iter().flat_map(Call::open_parameters) {
            if parameters.len() < number && u16::try_from(number).is_ok() {
                parameters.resize(number, None);
            }
            if let Some(open @ None) = number.checked_sub(1).and_then(|index| parameters.get_mut(index)) {
                *open = types::arrow_type(pg_type);
            }
        }
        dialect::rewrite(&mut statement)?;
        let wrapped = DFStatement::Statement(Box::new(statement.clone()));
        let (references, _) = resolve_table_references(&wrapped, true)?;
        drop(wrapped);
        let mut tables = HashMap::with_capacity(references.len());
        let mut columns = BTreeSet::new();
        for call in &calls {
            let provider = self.called(call, &parameters, views).await?;
            let fields = provider.schema();
            columns.extend(fields.fields().iter().map(|field| field.name().clone()));
            tables.insert(call.table.clone(), Ok(provider_as_source(provider)));
        }
        for reference in references {
            if tables.contains_key(&reference) {
                continue;
            }
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
        let resolved = scope.resolve(reference)?;
        if views.len() == 1 {
            self.note(&resolved);
        }
        match resolved {
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
                if !view.parameters.is_empty() {
                    return Err(missing().with_hint(format!(
                        "views.{name} is a View with parameters. {}",
                        view_call::usage(view)
                    )));
                }
                let plan = self.expand(view, &[], &[], views).await?;
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

    /// Notes what a View that is planned by itself names.
    fn note(&self, resolved: &Resolved) {
        let Some(named) = &self.named else {
            return;
        };
        let name = match resolved {
            Resolved::Source {
                catalog,
                schema,
                table,
            } => format!("{}.{schema}.{table}", catalog.name),
            Resolved::System { table } => format!("{SYSTEM_SCHEMA}.{table}"),
            Resolved::View { name } => format!("{VIEWS_SCHEMA}.{name}"),
            Resolved::Extension { schema, table, .. } => format!("{schema}.{table}"),
        };
        named.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
    }

    /// The table that a call of a View is.
    fn called<'a>(
        &'a self,
        call: &'a Call,
        parameters: &'a [Option<DataType>],
        views: &'a [String],
    ) -> BoxFuture<'a, Result<Arc<dyn TableProvider>, FederationError>> {
        async move {
            if views.len() == 1 {
                self.note(&Resolved::View {
                    name: call.view.name.clone(),
                });
            }
            self.check_values(call, parameters, views).await?;
            let plan = self.expand(&call.view, &call.values, parameters, views).await?;
            let table = ViewTable::new(plan, Some(call.view.sql.clone()));
            Ok(Arc::new(table) as Arc<dyn TableProvider>)
        }
        .boxed()
    }

    /// Checks the types of a call's values, and the values that are known.
    async fn check_values(
        &self,
        call: &Call,
        parameters: &[Option<DataType>],
        views: &[String],
    ) -> Result<(), FederationError> {
        for index in 0..call.values.len() {
            if call.is_untyped(index, parameters) {
                continue;
            }
            let given = self
                .plan_value(call.value(index), parameters, views)
                .await
                .map_err(|error| call.place(error.without_location()))?
                .ok_or_else(|| call.volatile(index))?;
            let (_, field) = given.to_field(&DFSchema::empty())?;
            if !field.data_type().is_null() {
                call.check_type(index, types::of_field(&field))?;
            }
            let of_value = |error: FederationError| call.of_value(index, &error);
            let cast = self
                .plan_value(call.cast(index), parameters, views)
                .await
                .map_err(of_value)?;
            match cast {
                Some(cast) if !cast.is_volatile() => {
                    if call.is_literal(index) {
                        self.evaluate(cast).map_err(of_value)?;
                    }
                }
                _ => return Err(call.volatile(index)),
            }
        }
        Ok(())
    }

    /// The plan of an expression by itself; None where it is more than a value of one row.
    fn plan_value<'a>(
        &'a self,
        value: AstExpr,
        parameters: &'a [Option<DataType>],
        views: &'a [String],
    ) -> BoxFuture<'a, Result<Option<Expr>, FederationError>> {
        async move {
            let plan = self
                .plan_in(&self.scope, dialect::select_of(value), parameters, views)
                .await?;
            Ok(match plan {
                LogicalPlan::Projection(projection)
                    if matches!(projection.input.as_ref(), LogicalPlan::EmptyRelation(_)) =>
                {
                    projection.expr.into_iter().next().map(Expr::unalias)
                }
                _ => None,
            })
        }
        .boxed()
    }

    /// Computes an expression of constants, for its errors.
    fn evaluate(&self, value: Expr) -> Result<(), FederationError> {
        let schema = DFSchema::empty();
        let value = self.state.create_physical_expr(value, &schema)?;
        let one_row = RecordBatchOptions::new().with_row_count(Some(1));
        let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &one_row)?;
        value.evaluate(&row)?;
        Ok(())
    }

    /// The plan of a saved query with these values in the places of its parameters; `parameters` are the types of the
    /// `$1…` that the values have. Its text is not the client's, so its errors carry no position.
    fn expand<'a>(
        &'a self,
        view: &'a ViewDefinition,
        values: &'a [AstExpr],
        parameters: &'a [Option<DataType>],
        outer: &'a [String],
    ) -> BoxFuture<'a, Result<LogicalPlan, FederationError>> {
        async move {
            let name = view.name.as_str();
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
                let mut statements = parse(&view.sql)?;
                let (Some(mut statement @ Statement::Query(_)), true) =
                    (statements.pop(), statements.is_empty())
                else {
                    return Err(Cause::Syntax {
                        message: "a view is one SELECT".into(),
                    }
                    .into());
                };
                view_parameters::substitute(&mut statement, &view.parameters, values)?;
                self.plan_in(&scope, statement, parameters, &inside).await
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
