//! A gateway over tables in memory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use async_trait::async_trait;
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use lakegate_federation::{
    CatalogSource, ColumnMetadata, DiscoveredTable, Federation, FederationOptions, RelationKind, SourceError,
    TableMetadata,
};
use lakegate_gateway::introspection::PgCatalog;
use lakegate_gateway::{Gateway, GatewayOptions, HttpState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};
use tokio_util::sync::CancellationToken;

use crate::raw::Raw;

/// A query that takes very long and delivers nothing before its end; `tick` counts the rows it sees.
pub const ENDLESS: &str = "select sum(tick(a.value + b.value)) from generate_series(1, 100000) a(value), \
                           generate_series(1, 10000000) b(value)";

#[derive(Debug)]
struct Tables(Vec<(&'static str, &'static str, RecordBatch)>);

#[async_trait]
impl CatalogSource for Tables {
    fn endpoint(&self) -> String {
        "memory".into()
    }

    async fn probe(&self) -> Result<Option<String>, SourceError> {
        Ok(None)
    }

    async fn discover(&self) -> Result<Vec<DiscoveredTable>, SourceError> {
        let tables = self.0.iter().map(|(schema, name, batch)| DiscoveredTable {
            schema: (*schema).into(),
            metadata: Arc::new(TableMetadata {
                name: (*name).into(),
                kind: RelationKind::Table,
                comment: None,
                rows: Some(batch.num_rows() as u64),
                columns: batch
                    .schema()
                    .fields()
                    .iter()
                    .map(|field| ColumnMetadata {
                        name: field.name().clone(),
                        data_type: field.data_type().clone(),
                        nullable: field.is_nullable(),
                        comment: None,
                        properties: vec![],
                    })
                    .collect(),
                primary_key: vec![],
                definition: None,
            }),
            handle: Arc::new(batch.clone()),
        });
        Ok(tables.collect())
    }

    async fn open(&self, table: &DiscoveredTable) -> Result<Arc<dyn TableProvider>, DataFusionError> {
        let batch = table.handle.downcast_ref::<RecordBatch>().unwrap().clone();
        Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
    }
}

/// A running gateway; it ends when this is dropped.
pub struct Server {
    pub address: SocketAddr,
    pub http: SocketAddr,
    pub http_state: HttpState,
    pub federation: Arc<Federation>,
    pub ticks: Arc<AtomicU64>,
    pub shutdown: CancellationToken,
    pub task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.task.abort();
    }
}

/// Waits until connections are answered, which is when HTTP has something to query.
async fn serving(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // SSLRequest
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await.unwrap();
    stream.read_u8().await.unwrap();
}

pub fn options() -> GatewayOptions {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    GatewayOptions {
        listen: any_port,
        http: Some(any_port),
        ..GatewayOptions::default()
    }
}

impl Server {
    pub async fn start() -> Self {
        Self::with(options(), vec![]).await
    }

    pub async fn with(options: GatewayOptions, more: Vec<(&'static str, RecordBatch)>) -> Self {
        let federation = Federation::new(FederationOptions {
            threads: 2,
            ..FederationOptions::default()
        })
        .unwrap();
        let ticks = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&ticks);
        let tick = create_udf(
            "tick",
            vec![DataType::Int64],
            DataType::Int64,
            Volatility::Volatile,
            Arc::new(move |arguments: &[ColumnarValue]| {
                if let ColumnarValue::Array(array) = &arguments[0] {
                    seen.fetch_add(array.len() as u64, Ordering::SeqCst);
                }
                Ok(arguments[0].clone())
            }),
        );
        federation.customize(|state| {
            state.register_udf(Arc::new(tick)).unwrap();
        });
        let orders = RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from_iter_values(1..=5)) as ArrayRef),
            (
                "name",
                Arc::new(StringArray::from(vec![
                    Some("a"),
                    Some("b,\"c\""),
                    None,
                    Some(""),
                    Some("é"),
                ])),
            ),
        ])
        .unwrap();
        let mut tables = vec![("public", "orders", orders.clone())];
        tables.extend(more.into_iter().map(|(name, batch)| ("public", name, batch)));
        federation
            .attach_source("shop", "shop", Arc::new(Tables(tables)))
            .await
            .unwrap();
        let crm = Arc::new(Tables(vec![("main", "customers", orders)]));
        federation.attach_source("crm", "crm", crm).await.unwrap();
        let mut gateway = Gateway::bind(options).await.unwrap();
        let (address, http) = (gateway.address(), gateway.http_address().unwrap());
        let http_state = HttpState::new(|| "lakegate_up 1\n".to_owned());
        gateway.start_http(http_state.clone(), &federation);
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(gateway.serve(
            Arc::clone(&federation),
            Arc::new(PgCatalog::new()),
            shutdown.clone(),
        ));
        serving(address).await;
        Server {
            address,
            http,
            http_state,
            federation,
            ticks,
            shutdown,
            task,
        }
    }

    /// A client of tokio-postgres.
    pub async fn client(&self) -> Client {
        self.try_client("ann", "shop", None).await.unwrap()
    }

    pub async fn try_client(
        &self,
        user: &str,
        database: &str,
        password: Option<&str>,
    ) -> Result<Client, tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config
            .host("127.0.0.1")
            .port(self.address.port())
            .user(user)
            .dbname(database);
        if let Some(password) = password {
            config.password(password);
        }
        let (client, connection) = config.connect(NoTls).await?;
        // its end is the client's end
        tokio::spawn(connection);
        Ok(client)
    }

    /// A client that speaks the protocol by hand.
    pub async fn raw(&self) -> Raw {
        Raw::session(self.address, &[("user", "ann"), ("database", "shop")]).await
    }

    /// Waits until the endless query runs.
    pub async fn work_starts(&self) {
        eventually("the work starts", async || self.ticks.load(Ordering::SeqCst) > 0).await;
    }

    /// Waits until a query runs and makes no progress, and returns the rows it has seen.
    pub async fn back_pressure(&self) -> u64 {
        eventually("the query waits for its client", async || {
            let before = self.ticks.load(Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(300)).await;
            before == self.ticks.load(Ordering::SeqCst)
        })
        .await;
        self.ticks.load(Ordering::SeqCst)
    }

    /// Waits until nothing runs any more.
    pub async fn work_stops(&self) {
        eventually("the work stops", async || {
            let before = self.ticks.load(Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(200)).await;
            before == self.ticks.load(Ordering::SeqCst) && self.federation.query_log().active().is_empty()
        })
        .await;
    }
}

/// What a server said over HTTP.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// With names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(header, _)| header == name);
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The body of an answer in chunks, put together; None when it was cut off before its end.
    pub fn chunked(&self) -> Option<Vec<u8>> {
        assert_eq!(
            self.header("transfer-encoding"),
            ["chunked"],
            "{:?}",
            self.headers
        );
        let (mut whole, mut rest) = (Vec::new(), self.body.as_slice());
        loop {
            let end = rest.windows(2).position(|window| window == b"\r\n")?;
            let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
            rest = &rest[end + 2..];
            if length == 0 {
                return Some(whole);
            }
            whole.extend_from_slice(rest.get(..length)?);
            rest = rest.get(length + 2..)?;
        }
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// One request, `headers` each with its line end, on a connection of its own.
pub async fn request(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // a server that breaks a connection off may reset it: what came before that counts
    if let Err(error) = stream.read_to_end(&mut answer).await {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap();
    let head = std::str::from_utf8(&answer[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|line| line.split_once(": ").unwrap());
    Answer {
        status,
        headers: headers
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect(),
        body: answer[end + 4..].to_vec(),
    }
}

/// Waits for a condition, long enough for a loaded machine.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..1200 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("not in time: {what}");
}
