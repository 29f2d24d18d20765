//! Variances and deviations: computed by PostgreSQL from exact sums, and here, to the last digit alike.

use crate::postgres::PostgresServer;
use crate::semantics::{outcome, serve};

/// Groups of no, one, two and many values, small ones, large ones, and ones that are far from zero but near to each other.
const FIXTURE: &str = "
    create table spread as
    select size as g, i,
        (random() * 30000)::int2 as small,
        (2147483647 * (random() * 2 - 1))::int4 as whole,
        case when size % 2 = 0 then 1700000000000000 + (random() * 1e9)::int8 else (9.2e18 * (random() * 2 - 1))::int8 end as big,
        (random() * 1e9 - 5e8)::numeric(13, 4) as price,
        (random() * 9e8)::numeric(19, 10) as tiny,
        (random() * 1e30)::numeric(38, 2) as huge,
        case when i % 3 = 0 then null else i end as gaps
    from generate_series(1, 40) size, generate_series(1, size * size) i;
    insert into spread (g) values (0);
    analyze spread";

const FUNCTIONS: [&str; 6] = [
    "var_samp",
    "variance",
    "var_pop",
    "stddev",
    "stddev_samp",
    "stddev_pop",
];

#[tokio::test(flavor = "multi_thread")]
async fn variances_are_the_same_to_the_last_digit() {
    let server = PostgresServer::shared();
    let postgres = server.database("spread").await;
    postgres.batch_execute(FIXTURE).await.unwrap();
    let gateway = serve(&server, "spread").await;
    let (pushed, local) = (gateway.client().await, gateway.client().await);
    local.batch_execute("set lakegate.pushdown = off").await.unwrap();
    let mut compared = 0;
    for column in ["small", "whole", "big", "price", "tiny", "gaps"] {
        for function in FUNCTIONS {
            let call = format!("{function}({column})");
            let explained = outcome(&pushed, &format!("explain select {call} from spread")).await;
            assert!(explained.contains("pg_catalog.div("), "{call}: {explained}");
            for sql in [
                format!("select {call} from spread"),
                format!("select g, {call} from spread group by g order by g"),
                format!("select g, {call} filter (where i > 2) from spread group by g order by g"),
                format!("select g from spread group by g having {call} > 100 order by g"),
                format!("select g, {call} from spread group by g order by 2 desc nulls last, 1 limit 7"),
            ] {
                let answer = outcome(&local, &sql).await;
                assert!(!answer.starts_with("error"), "{sql}: {answer}");
                assert_eq!(outcome(&pushed, &sql).await, answer, "{sql}");
                compared += 1;
            }
            // PostgreSQL itself chooses how many digits it gives, of large numbers none behind the point.
            let near = format!("select g, round({call}) from spread group by g order by g");
            assert_eq!(
                outcome(&pushed, &near).await,
                outcome(&postgres, &near).await,
                "{near}"
            );
        }
    }
    // What has no room for its digits here is not asked of the store, nor are different values.
    for call in ["stddev(huge)", "var_pop(distinct whole)"] {
        let explained = outcome(&pushed, &format!("explain select {call} from spread")).await;
        assert!(!explained.contains("pg_catalog.div("), "{call}: {explained}");
    }
    println!("{compared} statements gave the same with push-down on and off");
}
