//! What neither the schema nor CEL can express.

use std::{collections::HashMap, time::Duration as StdDuration};

use super::Problem;
use crate::{
    AnyResource, ColumnSpec, DataSource, DiscoverySpec, Duration, Endpoint, Export, ExportSpec, MaskSpec,
    MysqlSpec, PartitionField, PostgresSpec, PrimaryEndpoint, RetentionPolicy, ScheduleSpec,
    export::key_mask_problem, schedule, text::excerpt,
};

const A_DAY: StdDuration = StdDuration::from_hours(24);

pub(super) fn check(resource: &AnyResource) -> Vec<Problem> {
    let mut problems = Vec::new();
    match resource {
        AnyResource::DataSource(object) => data_source(object, &mut problems),
        AnyResource::Export(object) => export(object, &mut problems),
        AnyResource::RetentionPolicy(object) => retention(object, &mut problems),
        AnyResource::View(object) => {
            if object.spec.sql.trim().is_empty() {
                problems.push(Problem::invalid("spec.sql", "must not be empty"));
            }
        }
        AnyResource::ExportRun(_) => {}
    }
    problems
}

fn check_schedule(spec: Option<&ScheduleSpec>, problems: &mut Vec<Problem>) {
    let Some(spec) = spec else { return };
    if let Err(error) = spec.parse() {
        problems.push(Problem::invalid("spec.schedule.cron", error.to_string()));
    }
    check_zone(spec.time_zone.as_deref(), "spec.schedule.timeZone", problems);
}

fn check_zone(name: Option<&str>, field: &str, problems: &mut Vec<Problem>) {
    if let Some(Err(error)) = name.map(schedule::parse_zone) {
        problems.push(Problem::invalid(field, error.to_string()));
    }
}

fn data_source(object: &DataSource, problems: &mut Vec<Problem>) {
    let spec = &object.spec;
    if let Some(DiscoverySpec {
        interval: Some(interval),
        ..
    }) = &spec.discovery
        && interval.get() < StdDuration::from_mins(1)
    {
        problems.push(Problem::invalid("spec.discovery.interval", "must be at least 1m"));
    }
    if let Some(postgres) = &spec.postgres {
        let servers = (
            &postgres.primary,
            postgres.replicas.as_slice(),
            PostgresSpec::DEFAULT_PORT,
        );
        replicas(
            "spec.postgres",
            servers,
            postgres.max_replica_lag.as_ref(),
            problems,
        );
    }
    if let Some(mysql) = &spec.mysql {
        let servers = (&mysql.primary, mysql.replicas.as_slice(), MysqlSpec::DEFAULT_PORT);
        replicas("spec.mysql", servers, mysql.max_replica_lag.as_ref(), problems);
    }
    for (index, table) in spec.object_store.iter().flat_map(|it| &it.tables).enumerate() {
        let field = |name: &str| format!("spec.objectStore.tables[{index}].{name}");
        for (name, text) in [
            (
                "csv.delimiter",
                table.csv.as_ref().and_then(|it| it.delimiter.as_deref()),
            ),
            ("csv.quote", table.csv.as_ref().and_then(|it| it.quote.as_deref())),
            (
                "csv.escape",
                table.csv.as_ref().and_then(|it| it.escape.as_deref()),
            ),
        ] {
            if text.is_some_and(|text| !text.is_ascii()) {
                problems.push(Problem::invalid(field(name), "must be one ASCII character"));
            }
        }
    }
}

/// Replicas that are the primary, or one another, would not do what their user thinks.
fn replicas(
    field: &str,
    (primary, replicas, default_port): (&PrimaryEndpoint, &[Endpoint], u16),
    max_replica_lag: Option<&Duration>,
    problems: &mut Vec<Problem>,
) {
    let port = |port: Option<u16>| port.unwrap_or(default_port);
    let mut seen = vec![(primary.host.as_str(), port(primary.port))];
    for (index, replica) in replicas.iter().enumerate() {
        let address = (replica.host.as_str(), port(replica.port));
        match seen.iter().position(|known| *known == address) {
            Some(0) => problems.push(Problem::invalid(
                format!("{field}.replicas[{index}]"),
                "is the primary; leave it out, and set onReplicaLag to UsePrimary if the primary may be read",
            )),
            Some(_) => problems.push(Problem::invalid(
                format!("{field}.replicas[{index}]"),
                "is listed before; leave it out",
            )),
            None => seen.push(address),
        }
    }
    if max_replica_lag.is_some_and(|lag| lag.get() < StdDuration::from_secs(1)) {
        problems.push(Problem::invalid(
            format!("{field}.maxReplicaLag"),
            "must be at least 1s",
        ));
    }
}

fn export(object: &Export, problems: &mut Vec<Problem>) {
    let spec = &object.spec;
    check_schedule(spec.schedule.as_ref(), problems);
    if spec
        .timeout
        .as_ref()
        .is_some_and(|it| it.get() < StdDuration::from_secs(1))
    {
        problems.push(Problem::invalid("spec.timeout", "must be at least 1s"));
    }
    let columns = spec.columns.as_deref().unwrap_or_default();
    for (index, column) in columns.iter().enumerate() {
        if let Some(mask) = &column.mask {
            check_mask(mask, &format!("spec.columns[{index}].mask"), problems);
        }
    }

    // Engines compare names of columns without regard to case.
    let mut outputs: HashMap<String, (usize, Option<&MaskSpec>)> = HashMap::new();
    for (index, column) in columns.iter().enumerate() {
        if column.mask.as_ref().is_some_and(|mask| mask.drop.is_some()) {
            continue;
        }
        let Some(name) = column.output_name() else {
            continue;
        };
        if let Some((first, _)) = outputs.insert(name.to_lowercase(), (index, column.mask.as_deref())) {
            let name = excerpt(name);
            let field = if column.r#as.is_some() { "as" } else { "name" };
            problems.push(Problem::invalid(
                format!("spec.columns[{index}].{field}"),
                format!(
                    "\"{name}\" is the name of spec.columns[{first}] already, but for case perhaps; set another as"
                ),
            ));
        }
    }
    if !columns.is_empty() && outputs.is_empty() {
        problems.push(Problem::invalid(
            "spec.columns",
            "every column is dropped; keep at least one",
        ));
    }

    for (index, PartitionField { column, .. }) in spec.destination.partition_by.iter().enumerate() {
        let field = format!("spec.destination.partitionBy[{index}].column");
        let masked = outputs
            .get(&column.to_lowercase())
            .map(|(_, mask)| mask.is_some());
        let column = excerpt(column);
        match masked {
            Some(true) => problems.push(Problem::invalid(
                field,
                format!("\"{column}\" is masked; a table cannot be partitioned by a masked column"),
            )),
            None if !columns.is_empty() => problems.push(Problem::invalid(
                field,
                format!("\"{column}\" is not an exported column; name one of spec.columns as it is exported"),
            )),
            _ => {}
        }
    }
    for (index, column) in spec.destination.bloom_filters.iter().enumerate() {
        let name = column.to_lowercase();
        let masked = outputs.get(&name).map(|(_, mask)| mask.is_some());
        let earlier = &spec.destination.bloom_filters[..index];
        let column = excerpt(column);
        let problem = match masked {
            Some(true) => "is masked; a bloom filter would tell who tries values which of them are there",
            None if !columns.is_empty() => {
                "is not an exported column; name one of spec.columns as it is exported"
            }
            _ if earlier.iter().any(|other| other.to_lowercase() == name) => "is listed before; leave it out",
            _ => continue,
        };
        problems.push(Problem::invalid(
            format!("spec.destination.bloomFilters[{index}]"),
            format!("\"{column}\" {problem}"),
        ));
    }

    let assertion = spec.assert.as_ref().and_then(|it| it.k_anonymity.as_ref());
    let quasi = assertion.map(|it| it.quasi.as_slice()).unwrap_or_default();
    let exported_only = [
        ("assert.kAnonymity.quasi", quasi),
        ("acknowledgePersonal", spec.acknowledge_personal.as_slice()),
    ];
    for (field, names) in exported_only {
        for (index, name) in names.iter().enumerate() {
            if !columns.is_empty() && !outputs.contains_key(&name.to_lowercase()) {
                let name = excerpt(name);
                problems.push(Problem::invalid(
                    format!("spec.{field}[{index}]"),
                    format!(
                        "\"{name}\" is not an exported column; name one of spec.columns as it is exported"
                    ),
                ));
            }
        }
    }

    if spec.incremental.is_some() {
        check_incremental(spec, problems);
    }
}

fn check_incremental(spec: &ExportSpec, problems: &mut Vec<Problem>) {
    let Some(incremental) = &spec.incremental else {
        return;
    };
    let columns = spec.columns.as_deref().unwrap_or_default();
    let except = spec
        .all_columns
        .as_ref()
        .map(|it| it.except.as_slice())
        .unwrap_or_default();
    for (index, key) in incremental.key_columns.iter().enumerate() {
        let field = format!("spec.incremental.keyColumns[{index}]");
        let mut exported = columns.iter().filter(|column| {
            column.name.as_ref() == Some(key) && column.mask.as_ref().is_none_or(|mask| mask.drop.is_none())
        });
        let is_exported = if spec.columns.is_some() {
            exported.clone().next().is_some()
        } else {
            !except.contains(key)
        };
        let merged = |column: &ColumnSpec| column.mask.as_ref().and_then(|mask| key_mask_problem(mask));
        let key = excerpt(key);
        if !is_exported {
            problems.push(Problem::invalid(
                field,
                format!("\"{key}\" is not exported; a key column must be, masked or not"),
            ));
        } else if let Some(problem) = exported.clone().find_map(merged)
            && exported.all(|column| merged(column).is_some())
        {
            problems.push(Problem::invalid(field, format!("\"{key}\" {problem}")));
        } else if incremental.key_columns[..index].contains(&incremental.key_columns[index]) {
            problems.push(Problem::invalid(
                field,
                format!("\"{key}\" is listed before; leave it out"),
            ));
        }
    }
    if let Some(problem) = spec.cursor_mask_problem() {
        problems.push(Problem::invalid("spec.incremental.cursorColumn", problem));
    }
}

/// Options that would hide nothing, or other than their user thinks.
fn check_mask(mask: &MaskSpec, field: &str, problems: &mut Vec<Problem>) {
    if let Some(partial) = &mask.partial
        && partial.keep_first.unwrap_or(0) + partial.keep_last.unwrap_or(0) == 0
    {
        problems.push(Problem::invalid(
            format!("{field}.partial"),
            "keeps no character; set keepFirst or keepLast above 0, or use redact",
        ));
    }
    if let Some(bounds) = mask.bucket.as_ref().and_then(|bucket| bucket.bounds.as_ref())
        && let Some(index) = bounds.windows(2).position(|pair| pair[1] <= pair[0])
    {
        problems.push(Problem::invalid(
            format!("{field}.bucket.bounds[{}]", index + 1),
            "must be larger than the one before",
        ));
    }
    if let Some(shift) = &mask.date_shift {
        let within = shift.within.get();
        if within < A_DAY || within.as_secs() % A_DAY.as_secs() != 0 || within.subsec_nanos() != 0 {
            problems.push(Problem::invalid(
                format!("{field}.dateShift.within"),
                "must be whole days, at least 1d",
            ));
        }
    }
    let domains = [
        ("hmac", mask.hmac.as_ref().and_then(|it| it.domain.as_deref())),
        (
            "tokenize",
            mask.tokenize.as_ref().and_then(|it| it.domain.as_deref()),
        ),
    ];
    for (method, domain) in domains {
        if domain.is_some_and(|domain| domain.starts_with("lakegate ")) {
            problems.push(Problem::invalid(
                format!("{field}.{method}.domain"),
                "domains that begin with \"lakegate \" are Lakegate's own; name another",
            ));
        }
    }
}

fn retention(object: &RetentionPolicy, problems: &mut Vec<Problem>) {
    let spec = &object.spec;
    check_schedule(spec.schedule.as_ref(), problems);
    if let Some(rows) = &spec.rows {
        check_zone(rows.time_zone.as_deref(), "spec.rows.timeZone", problems);
    }
    if let Some(files) = &spec.files {
        for (index, pair) in files.tiers.windows(2).enumerate() {
            if pair[1].after.get() <= pair[0].after.get() {
                problems.push(Problem::invalid(
                    format!("spec.files.tiers[{}].after", index + 1),
                    "must be longer than that of the tier before",
                ));
            }
        }
    }
}
