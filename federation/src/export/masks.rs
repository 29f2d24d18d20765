//! The masks of an Export's columns: a projection on top of its rows.

use arrow::datatypes::Field;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, SelectItem};
use lakegate_crds::MaskSpec;

use super::{Shaped, invalid, quoted, unknown};
use crate::error::FederationError;
use crate::mask::{Mask, MaskKeys, MaskRefusal, mask, null_of};

/// How a column is masked, for the record. No key is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnMask {
    /// The method, as a manifest names it.
    pub method: &'static str,
    /// What the method keeps columns apart by, where it does.
    pub domain: Option<String>,
    /// The key, where the method takes one.
    pub key: Option<ColumnMaskKey>,
}

/// Which key a mask took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnMaskKey {
    /// `name/key` of its Secret.
    pub name: String,
    /// [`crate::mask::MaskKey::id`].
    pub id: String,
}

/// A column's mask in the spec.
pub(super) struct Masked<'a> {
    /// `spec.columns[2].mask`.
    pub field: String,
    pub spec: &'a MaskSpec,
}

impl Masked<'_> {
    /// The source column that decides with the masked one.
    fn entity(&self) -> Option<&str> {
        self.spec.date_shift.as_ref().map(|shift| shift.by.as_str())
    }

    fn refused(&self, refusal: &MaskRefusal) -> FederationError {
        let field = if refusal.field.is_empty() {
            self.field.clone()
        } else {
            format!("{}.{}", self.field, refusal.field)
        };
        invalid(&field, &refusal.message)
    }
}

/// The source columns that masks need beside their own, under names that no exported column has. They follow the
/// exported ones in the order of the masks.
pub(super) fn entities(shaped: &[Shaped<'_>], names: &[&str]) -> Result<Vec<SelectItem>, FederationError> {
    let masks = shaped.iter().filter_map(|column| column.mask.as_ref());
    masks
        .filter_map(|mask| mask.entity().map(|entity| (mask, entity)))
        .enumerate()
        .map(|(index, (mask, entity))| {
            if !names.contains(&entity) {
                return Err(unknown(names, &format!("{}.dateShift.by", mask.field), entity));
            }
            Ok(SelectItem::ExprWithAlias {
                expr: SqlExpr::Identifier(quoted(entity)),
                alias: quoted(&format!("{ENTITY}{index}")),
            })
        })
        .collect()
}

/// No column of a lake begins with it.
const ENTITY: &str = "\u{2}entity ";

/// The plan with its columns masked and the entities gone, and for each column how. The last `carried` columns, which
/// follow the entities, stay as they are.
pub(super) fn masked(
    plan: LogicalPlan,
    shaped: &[Shaped<'_>],
    keys: &MaskKeys,
    domain: &str,
    carried: usize,
) -> Result<(LogicalPlan, Vec<Option<ColumnMask>>), FederationError> {
    let schema = plan.schema();
    if shaped.iter().all(|column| column.mask.is_none()) {
        return Ok((plan, vec![None; shaped.len()]));
    }
    let column = |index: usize| {
        let columns = schema.columns();
        let column = columns.get(index).cloned().map(Expr::Column);
        column.ok_or_else(|| FederationError::internal("a planned export lacks a column"))
    };
    let mut next_entity = shaped.len();
    let mut items = Vec::with_capacity(shaped.len());
    let mut masks = Vec::with_capacity(shaped.len());
    for (index, shape) in shaped.iter().enumerate() {
        let Some(masked) = &shape.mask else {
            items.push(column(index)?);
            masks.push(None);
            continue;
        };
        let field: &Field = schema.field(index);
        let name = shape.source.as_deref().unwrap_or(field.name());
        let domain = format!("{domain}.{name}");
        let function =
            Mask::new(masked.spec, field, keys, &domain).map_err(|refusal| masked.refused(&refusal))?;
        masks.push(Some(record(masked.spec, function.name(), keys, domain)));
        let entity = match masked.entity() {
            Some(_) => {
                next_entity += 1;
                Some(column(next_entity - 1)?)
            }
            None => None,
        };
        // of a column that is null nothing has to be read
        let null = masked.spec.null.as_ref().and_then(|_| null_of(field));
        let item = match null {
            Some(null) => null,
            None => mask(function, column(index)?, entity),
        };
        items.push(item.alias(field.name()));
    }
    for index in schema.fields().len().saturating_sub(carried)..schema.fields().len() {
        items.push(column(index)?);
    }
    let plan = LogicalPlanBuilder::from(plan).project(items)?.build()?;
    Ok((plan, masks))
}

fn record(spec: &MaskSpec, method: &'static str, keys: &MaskKeys, domain: String) -> ColumnMask {
    let own = [
        spec.hmac.as_ref().map(|it| it.domain.clone()),
        spec.tokenize.as_ref().map(|it| it.domain.clone()),
    ];
    ColumnMask {
        method,
        domain: own.into_iter().flatten().next().map(|own| own.unwrap_or(domain)),
        key: spec.key_ref().and_then(|reference| {
            keys.get(reference).map(|key| ColumnMaskKey {
                name: format!("{}/{}", reference.name, reference.key),
                id: key.id().to_owned(),
            })
        }),
    }
}
