//! Operands, and the types that they take from each other.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DFSchema, Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::expr::{Cast, Placeholder};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator};

use crate::cast::Target;
use crate::functions::cast;
use crate::types::{self, BaseType, PgType};
use crate::values::read::number;

/// An operand and what is known of it.
pub(super) struct Operand {
    pub(super) expr: Expr,
    pub(super) field: FieldRef,
    pub(super) pg_type: PgType,
    /// A string literal, whose type is still open.
    pub(super) open: bool,
}

impl Operand {
    pub(super) fn new(expr: Expr, schema: &DFSchema) -> DataFusionResult<Self> {
        let expr = narrow(expr);
        let field = field_of(&expr, schema)?;
        let open = matches!(
            &expr,
            Expr::Literal(ScalarValue::Utf8(_) | ScalarValue::Null, None)
        );
        Ok(Self {
            pg_type: types::of_field(&field),
            field,
            expr,
            open,
        })
    }

    pub(super) fn oid(&self) -> u32 {
        if self.pg_type.array {
            0
        } else {
            self.pg_type.base.oid
        }
    }

    pub(super) fn is(&self, base: &'static BaseType) -> bool {
        self.oid() == base.oid
    }

    pub(super) fn is_null(&self) -> bool {
        self.field.data_type().is_null()
    }

    pub(super) fn is_integer(&self) -> bool {
        matches!(self.oid(), 20 | 21 | 23) && self.field.data_type().is_integer()
    }

    pub(super) fn is_float(&self) -> bool {
        matches!(self.oid(), 700 | 701)
    }

    pub(super) fn is_numeric(&self) -> bool {
        self.oid() == types::NUMERIC.oid
    }

    pub(super) fn is_number(&self) -> bool {
        self.is_integer() || self.is_float() || self.is_numeric()
    }

    pub(super) fn is_text(&self) -> bool {
        is_text(self.pg_type) && !self.pg_type.array && !self.is_null()
    }

    pub(super) fn is_time(&self) -> bool {
        matches!(self.oid(), 1082 | 1083 | 1114 | 1184 | 1186)
    }

    pub(super) fn is_json(&self) -> bool {
        matches!(self.oid(), 114 | 3802) && !self.field.data_type().is_nested()
    }

    /// A list, or what json prints of a nested one.
    pub(super) fn is_list(&self) -> bool {
        matches!(
            self.field.data_type(),
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _)
        )
    }

    /// This operand with a type; of numeric the digits that are written.
    pub(super) fn cast(self, pg_type: PgType) -> Expr {
        let mut target = Target::of(PgType {
            typmod: -1,
            ..pg_type
        });
        if pg_type.base.oid == types::NUMERIC.oid
            && !pg_type.array
            && let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = &self.expr
            && let Ok(value) = number::numeric(text)
            && let (Ok(precision), Ok(scale)) = (u8::try_from(value.precision), i8::try_from(value.scale))
        {
            target.digits = Some((precision, scale));
        }
        cast::call(self.expr, target)
    }

    pub(super) fn cast_to(self, base: &'static BaseType) -> Expr {
        self.cast(PgType::scalar(base))
    }
}

/// A whole number literal as the `integer` it is where it fits.
pub(super) fn narrow(expr: Expr) -> Expr {
    match expr {
        Expr::Literal(ScalarValue::Int64(Some(value)), None) => match i32::try_from(value) {
            Ok(value) => Expr::Literal(ScalarValue::Int32(Some(value)), None),
            Err(_) => expr,
        },
        other => other,
    }
}

/// The field of an expression, its name aside.
pub(super) fn field_of(expr: &Expr, schema: &DFSchema) -> DataFusionResult<FieldRef> {
    match expr {
        // a field has the name of all that is below, which chains of operators would spell out at each of them
        Expr::BinaryExpr(_) => Ok(Arc::new(Field::new(
            "",
            expr.get_type(schema)?,
            expr.nullable(schema)?,
        ))),
        other => Ok(other.to_field(schema)?.1),
    }
}

/// Text, or an array of it.
pub(super) fn is_text(pg_type: PgType) -> bool {
    matches!(pg_type.base.oid, 18 | 19 | 25 | 1042 | 1043)
}

/// A string literal, whose type is still open.
pub(super) fn is_open(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Utf8(Some(_)), None))
}

pub(super) fn is_open_parameter(expr: &Expr) -> bool {
    matches!(expr, Expr::Placeholder(Placeholder { field: None, .. }))
}

/// A literal of the type that it is compared with.
pub(super) fn compared_literal(literal: Operand, other: &Operand) -> Operand {
    let pg_type = other.pg_type;
    let nested = other.field.data_type().is_nested() && !pg_type.array;
    if other.is_text() && pg_type.base.oid != types::BPCHAR.oid || nested || other.is_null() {
        return literal;
    }
    let pg_type = PgType {
        typmod: -1,
        ..pg_type
    };
    let expr = literal.cast(pg_type);
    Operand {
        field: Arc::clone(&other.field),
        pg_type,
        expr,
        open: false,
    }
}

/// String literals of an arithmetic operator with the type that it wants of them.
pub(super) fn resolve_open(
    left: Operand,
    right: Operand,
    op: Operator,
) -> (DataFusionResult<Operand>, DataFusionResult<Operand>) {
    let typed = |literal: Operand, other: &Operand| {
        let base: &'static BaseType = match (other.oid(), op) {
            // there is no sum of two points in time: the literal is the interval
            (1082 | 1114 | 1184 | 1083, Operator::Plus) => &types::INTERVAL,
            (1186, Operator::Multiply | Operator::Divide) => &types::FLOAT8,
            _ => other.pg_type.base,
        };
        let pg_type = PgType::scalar(base);
        let expr = literal.cast(pg_type);
        let field = expr.to_field(&DFSchema::empty()).map(|(_, field)| field)?;
        Ok(Operand {
            pg_type,
            field,
            expr,
            open: false,
        })
    };
    let wants = |operand: &Operand| operand.is_number() || operand.is_time();
    let literal = |operand: &Operand| operand.open && !operand.is_null();
    if literal(&left) && wants(&right) {
        (typed(left, &right), Ok(right))
    } else if literal(&right) && wants(&left) {
        let typed = typed(right, &left);
        (Ok(left), typed)
    } else {
        (Ok(left), Ok(right))
    }
}

/// A number as the `double precision` nearest to it.
pub(super) fn double(operand: Operand) -> Expr {
    match operand.field.data_type() {
        DataType::Float64 => operand.expr,
        // the kernel divides one float by another, which is exact only of numbers and powers of ten that floats are
        DataType::Decimal128(precision, scale) if *precision <= 15 && (0..=22).contains(scale) => {
            Expr::Cast(Cast::new(Box::new(operand.expr), DataType::Float64))
        }
        DataType::Decimal128(..) | DataType::Decimal256(..) => operand.cast_to(&types::FLOAT8),
        _ => Expr::Cast(Cast::new(Box::new(operand.expr), DataType::Float64)),
    }
}

/// An integer as the decimal with its digits: of a literal no more than are written.
pub(super) fn decimal(operand: Operand) -> Operand {
    if !operand.is_integer() {
        return operand;
    }
    let value = match &operand.expr {
        Expr::Literal(ScalarValue::Int32(Some(value)), None) => i64::from(*value),
        Expr::Literal(ScalarValue::Int64(Some(value)), None) => *value,
        _ => {
            let digits = match operand.field.data_type() {
                DataType::Int8 | DataType::UInt8 => 3,
                DataType::Int16 | DataType::UInt16 => 5,
                DataType::Int32 | DataType::UInt32 => 10,
                _ => 20,
            };
            let data_type = DataType::Decimal128(digits, 0);
            return Operand {
                pg_type: types::of_data_type(&data_type),
                field: Arc::new(Field::new("", data_type.clone(), operand.field.is_nullable())),
                expr: Expr::Cast(Cast::new(Box::new(operand.expr), data_type)),
                open: false,
            };
        }
    };
    let digits = value.unsigned_abs().checked_ilog10().unwrap_or(0) as u8 + 1;
    let data_type = DataType::Decimal128(digits, 0);
    Operand {
        pg_type: types::of_data_type(&data_type),
        field: Arc::new(Field::new("", data_type, false)),
        expr: Expr::Literal(ScalarValue::Decimal128(Some(i128::from(value)), digits, 0), None),
        open: false,
    }
}
