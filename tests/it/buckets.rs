//! Lakes and files in buckets: from the Secret's manifest to psql.

use crate::s3_server::{KEY, S3Server, SECRET};
use crate::support::{Site, eventually};

fn manifests(server: &S3Server, files: &str, lake: &str) -> String {
    let endpoint = server.endpoint();
    format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: keys}}
stringData: {{accessKeyId: {KEY}, secretAccessKey: {SECRET}}}
---
apiVersion: lakegate.dev/v1alpha1
kind: DataSource
metadata: {{name: files}}
spec:
  objectStore:
    s3: {{bucket: {files}, endpoint: \"{endpoint}\", pathStyle: true, credentials: {{secretRef: {{name: keys}}}}}}
    tables: [{{name: orders, path: \"orders/*.csv\"}}]
---
apiVersion: lakegate.dev/v1alpha1
kind: DataSource
metadata: {{name: lake}}
spec:
  lake:
    s3: {{bucket: {lake}, prefix: prod, endpoint: \"{endpoint}\", pathStyle: true, credentials: {{secretRef: {{name: keys}}}}}}
---
apiVersion: lakegate.dev/v1alpha1
kind: Export
metadata: {{name: orders}}
spec:
  from: {{sourceRef: {{name: files}}, table: {{schema: default, name: orders}}}}
  columns: [{{name: id}}, {{name: total}}]
  schedule: {{cron: \"0 3 * * *\", timeZone: UTC, runOnCreate: true}}
  retry: {{limit: 0}}
  destination: {{lakeRef: {{name: lake}}, schema: shop, table: orders}}
"
    )
}

#[test]
fn an_export_from_a_bucket_into_another_is_a_table() {
    let server = S3Server::shared();
    let (files, lake) = (server.bucket(), server.bucket());
    std::fs::create_dir(server.path(&files).join("orders")).expect("a directory");
    let write = |name: &str, text: &str| {
        std::fs::write(server.path(&files).join("orders").join(name), text).expect("an object");
    };
    write("1.csv", "id,total\n1,10.5\n2,20\n");
    write("2.csv", "id,total\n3,7.25\n");
    let site = Site::empty();
    site.write("site.yaml", &manifests(server, &files, &lake));
    let mut serve = site.serve();
    serve.sql_becomes(
        "lakegate",
        "select count(*), sum(total) from lake.shop.orders",
        "3|37.75",
    );
    serve.sql_becomes("lakegate", "select last_run from lakegate.exports", "Succeeded");
    assert!(
        server
            .path(&lake)
            .join("prod/shop/orders/metadata/v1.metadata.json")
            .exists()
    );

    // a second run replaces it, and the next query sees that
    write("3.csv", "id,total\n4,2\n");
    let run = site.cli(&["run", "export/orders"]);
    assert!(run.status.success(), "{run:?}");
    serve.sql_becomes(
        "lakegate",
        "select count(*), sum(total) from lake.shop.orders",
        "4|39.75",
    );

    // the bucket goes: queries and the next run say so; the run ends once the lake can tell what it did
    std::fs::remove_dir_all(server.path(&lake)).expect("a removal");
    let refused = serve
        .sql("lakegate", "select count(*) from lake.shop.orders")
        .expect_err("no bucket");
    assert!(refused.contains("does not exist; create it"), "{refused}");
    serve.expect_log("does not exist; create it");
    serve.expect_log("a run failed");
    let run = std::thread::scope(|scope| {
        let run = scope.spawn(|| site.cli(&["run", "export/orders"]));
        eventually("the word that the lake does not tell", || {
            let name = serve
                .sql(
                    "lakegate",
                    "select name from lakegate.export_runs where state = 'Running'",
                )
                .ok()?;
            let described = site.cli(&["describe", &format!("exportrun/{name}")]);
            let text = String::from_utf8_lossy(&described.stdout).into_owned();
            (text.contains("the lake does not say") && text.contains("does not exist; create it"))
                .then_some(())
        });
        std::fs::create_dir(server.path(&lake)).expect("a bucket");
        run.join().expect("an end")
    });
    let told = format!(
        "{}{}",
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr)
    );
    assert!(
        !run.status.success() && told.contains("does not exist; create it"),
        "{told}"
    );
    let described = site.cli(&["describe", "export/orders"]);
    for text in serve.log().iter().chain([
        &told,
        &refused,
        &String::from_utf8_lossy(&described.stdout).into_owned(),
    ]) {
        assert!(!text.contains("canary"), "{text}");
    }
}
