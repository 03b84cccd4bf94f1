//! [`BucketStore`]: the store in S3-compatible object storage.
//!
//! ```text
//! create ─ PUT, If-None-Match: * ─▶ 200 Ok · 412 AlreadyExists · anything unclear: Unknown
//! ```
//!
//! A PUT is atomic and durable when it is answered, and S3 reads what was written last, so the
//! promises of [`Store`] are the storage's own. The fence is its conditional write. Storage that
//! ignores the condition would let two writers publish one epoch, so [`BucketStore::open`] proves
//! that it does not, on an object that no listing shows.
//!
//! **No request is ever sent again from below.** The client's own retries are off: after a lost
//! reply its second PUT would find the object of the first and say `AlreadyExists` of our own file,
//! or carry out a late change behind our back. A call makes one attempt, and its outcome is what
//! that attempt was answered; without an answer it is `Unknown`, and [`create_exact`] reads the path
//! back and compares the bytes. (What hyper may still repeat is a request of which it wrote nothing
//! because an idle connection was closed, which is no second attempt.) Being sure is left to the
//! same code for every store, and works as well where a proxy on the way repeats requests.
//!
//! Left out: multipart uploads (a file is one PUT, of 5 GB at most), and removal of anything by age.
//!
//! [`create_exact`]: crate::create_exact

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::aws::{
    AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider,
    S3ConditionalPut,
};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientConfigKey, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig,
    StaticCredentialProvider,
};
use tokio::runtime::{Builder, Runtime};

use super::answer::{Connector, Trouble, in_time};
use super::{BucketConfig, Credentials, is_plain_loopback};
use crate::store::{Retry, Store, StoreError, TEMPORARY, check_path};

/// The object that proves the fence. It stays: a second proof then takes one request, and no
/// permission to delete.
const FENCE: &str = "fence";

/// The slowest transfer that is waited for, in bytes a second.
const SLOWEST: u64 = 256 * 1024;

/// How often an opening tries to reach the storage before it is an error.
const OPENING: Retry = Retry { attempts: 4, first_pause: Duration::from_millis(200) };

/// Objects below a prefix of a bucket. Several processes may have one store open.
pub struct BucketStore {
    s3: AmazonS3,
    config: BucketConfig,
    // One thread of its own looks after idle connections, so that one which the storage has closed
    // is gone before a request is put on it.
    runtime: Runtime,
}

impl fmt::Debug for BucketStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client's own form has the credentials in it.
        f.debug_struct("BucketStore").field("url", &self.config.url()).finish_non_exhaustive()
    }
}

impl BucketStore {
    /// Opens the store to write to it: reaches the bucket, and proves that conditional writes are
    /// conditional there.
    ///
    /// # Errors
    /// [`StoreError::Failed`] with advice: no such bucket, no or bad credentials, no connection, or
    /// storage without conditional writes.
    pub fn open(config: BucketConfig) -> Result<BucketStore, StoreError> {
        let store = BucketStore::open_existing(config)?;
        store.prove_fence()?;
        Ok(store)
    }

    /// Opens the store to read it: reaches the bucket, and changes nothing. Whether anything is in
    /// the store is not looked at.
    ///
    /// # Errors
    /// [`StoreError::Failed`] with advice.
    pub fn open_existing(config: BucketConfig) -> Result<BucketStore, StoreError> {
        let failed = |advice, source| failed("opening", config.url(), advice, source);
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("object-storage")
            .enable_all()
            .build()
            .map_err(|error| failed("see the cause; start again once it is gone", error))?;
        let s3 =
            connect(&config).map_err(|(advice, error)| failed(advice, io::Error::other(error)))?;
        let store = BucketStore { s3, config, runtime };
        OPENING.ask(|| store.page("", None, Some(1))).map_err(|error| store.unopened(error))?;
        Ok(store)
    }

    /// Returns `s3://bucket/prefix`.
    #[must_use]
    pub fn url(&self) -> String {
        self.config.url()
    }

    /// Of two creations of one object the second must be refused.
    fn prove_fence(&self) -> Result<(), StoreError> {
        let path = format!("{TEMPORARY}{FENCE}");
        for _ in 0..2 {
            let create = || self.write("opening", &path, b"", PutMode::Create);
            match OPENING.ask(create) {
                Err(StoreError::AlreadyExists { .. }) => return Ok(()),
                Ok(()) => {}
                Err(error) => return Err(self.unopened(error)),
            }
        }
        let source = io::Error::other("it created one object twice");
        let advice = "the storage ignores If-None-Match, so two writers could publish one epoch; \
                      use storage with conditional writes";
        Err(failed("opening", self.url(), advice, source))
    }

    /// While a store is opened nothing is at stake yet, so what cannot be reached is told at once.
    fn unopened(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Unknown { source, .. } => failed(
                "opening",
                self.url(),
                "the storage does not answer; check the endpoint, the region and the network, and \
                 outside of AWS that AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are set",
                source,
            ),
            other => other,
        }
    }

    fn key(&self, path: &str) -> String {
        if self.config.prefix.is_empty() {
            return path.to_owned();
        }
        format!("{}/{path}", self.config.prefix)
    }

    /// Returns the location of a path that was checked.
    fn location(&self, action: &'static str, path: &str) -> Result<Path, StoreError> {
        Path::parse(self.key(path))
            .map_err(|error| StoreError::failed(action, path, io::Error::other(error)))
    }

    /// How long a transfer of so many bytes may take.
    fn limit(&self, bytes: u64) -> Duration {
        self.config.patience + Duration::from_secs(bytes / SLOWEST)
    }

    /// Gives an error its meaning where neither "it is there" nor "it is not" has one.
    fn meaning(&self, action: &'static str, path: &str, trouble: Trouble) -> StoreError {
        match trouble {
            Trouble::Open(source) => StoreError::unknown(action, path, source),
            Trouble::Refused { advice, source } => {
                let path = BucketConfig { prefix: self.key(path), ..self.config.clone() }.url();
                failed(action, path, advice, source)
            }
            Trouble::NotThere(source) | Trouble::IsThere(source) => {
                StoreError::failed(action, path, source)
            }
        }
    }

    fn write(
        &self,
        action: &'static str,
        path: &str,
        bytes: &[u8],
        mode: PutMode,
    ) -> Result<(), StoreError> {
        let location = self.location(action, path)?;
        let payload = PutPayload::from(Bytes::copy_from_slice(bytes));
        let limit = self.limit(bytes.len() as u64);
        let creates = mode == PutMode::Create;
        let put = self.s3.put_opts(&location, payload, mode.into());
        match self.runtime.block_on(in_time(limit, put)) {
            Ok(_) => Ok(()),
            Err(Trouble::IsThere(_)) if creates => {
                Err(StoreError::AlreadyExists { path: path.to_owned() })
            }
            Err(trouble) => Err(self.meaning(action, path, trouble)),
        }
    }

    /// Lists up to a page of what starts with `prefix`, and returns how to go on.
    fn page(
        &self,
        prefix: &str,
        page_token: Option<String>,
        max_keys: Option<usize>,
    ) -> Result<(Vec<String>, Option<String>), StoreError> {
        let full = self.key(prefix);
        let options = PaginatedListOptions { page_token, max_keys, ..Default::default() };
        let some = Some(full.as_str()).filter(|full| !full.is_empty());
        let listing = self.s3.list_paginated(some, options);
        let page = self
            .runtime
            .block_on(in_time(self.config.patience, listing))
            .map_err(|trouble| self.meaning("listing", prefix, trouble))?;
        let below = self.key("");
        let paths = page.result.objects.iter().filter_map(|object| {
            let path = object.location.as_ref().strip_prefix(&below)?;
            let shown = path.starts_with(prefix) && check_path("listing", path).is_ok();
            shown.then(|| path.to_owned())
        });
        Ok((paths.collect(), page.page_token))
    }
}

impl Store for BucketStore {
    fn create(&self, path: &str, bytes: &[u8]) -> Result<(), StoreError> {
        check_path("creating", path)?;
        self.write("creating", path, bytes, PutMode::Create)
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Result<(), StoreError> {
        check_path("writing", path)?;
        self.write("writing", path, bytes, PutMode::Overwrite)
    }

    fn get(&self, path: &str) -> Result<Vec<u8>, StoreError> {
        check_path("reading", path)?;
        let location = self.location("reading", path)?;
        let read = async {
            let found = in_time(self.config.patience, self.s3.get(&location)).await?;
            in_time(self.limit(found.meta.size), found.bytes()).await
        };
        match self.runtime.block_on(read) {
            Ok(bytes) => Ok(bytes.into()),
            Err(Trouble::NotThere(_)) => Err(StoreError::NotFound { path: path.to_owned() }),
            Err(trouble) => Err(self.meaning("reading", path, trouble)),
        }
    }

    fn exists(&self, path: &str) -> Result<bool, StoreError> {
        check_path("looking for", path)?;
        let location = self.location("looking for", path)?;
        // The answer to a HEAD has no body that could tell a bucket that is gone from an object
        // that is not there. A commit log lists the bucket first and writes to it next; both tell.
        match self.runtime.block_on(in_time(self.config.patience, self.s3.head(&location))) {
            Ok(_) => Ok(true),
            Err(Trouble::NotThere(_)) => Ok(false),
            Err(trouble) => Err(self.meaning("looking for", path, trouble)),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        if let Some((dir, _)) = prefix.rsplit_once('/') {
            check_path("listing", dir)?;
        }
        let (mut found, mut next) = self.page(prefix, None, None)?;
        while let Some(token) = next {
            let (more, token) = self.page(prefix, Some(token), None)?;
            found.extend(more);
            next = token;
        }
        // Most storage lists in this order; directory buckets of S3 do not.
        found.sort_unstable();
        Ok(found)
    }

    fn delete(&self, path: &str) -> Result<(), StoreError> {
        check_path("deleting", path)?;
        let location = self.location("deleting", path)?;
        match self.runtime.block_on(in_time(self.config.patience, self.s3.delete(&location))) {
            Ok(()) => Ok(()),
            Err(trouble) => Err(self.meaning("deleting", path, trouble)),
        }
    }
}

fn failed(
    action: &'static str,
    path: String,
    advice: &'static str,
    source: io::Error,
) -> StoreError {
    StoreError::Failed { action, path, advice, source }
}

/// Builds the client. Nothing is sent yet.
fn connect(config: &BucketConfig) -> Result<AmazonS3, (&'static str, object_store::Error)> {
    let wrong = |error| {
        ("correct the AWS_… variables of the environment, or the options of the store", error)
    };
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(&config.bucket)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_retry(retry(1));
    if let Some(region) = &config.region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = &config.endpoint {
        // This one wins over AWS_ENDPOINT_URL_S3 too.
        builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
    }
    let value = |key| builder.get_config_value(&key);
    let endpoint = value(AmazonS3ConfigKey::S3Endpoint)
        .or_else(|| value(AmazonS3ConfigKey::Endpoint))
        .unwrap_or_default();
    let from_env = value(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp));
    let may_http = config.allow_http || from_env.as_deref() == Some("true");
    let http = may_http || is_plain_loopback(&endpoint);
    if endpoint.starts_with("http://") && !http {
        let source = format!("{endpoint} is not encrypted").into();
        let error = object_store::Error::Generic { store: "S3", source };
        return Err(("use https://, or set allow_http where the network is trusted", error));
    }
    let credentials: AwsCredentialProvider = match &config.credentials {
        Some(Credentials { key_id, secret }) => {
            let (key_id, secret_key) = (key_id.clone(), secret.clone());
            let credential = AwsCredential { key_id, secret_key, token: None };
            Arc::new(StaticCredentialProvider::new(credential))
        }
        // Finding credentials may be tried again, and looks at statuses by itself; so it has a
        // client of its own.
        None => Arc::clone(builder.clone().build().map_err(wrong)?.credentials()),
    };
    builder
        .with_credentials(credentials)
        .with_allow_http(http)
        .with_retry(retry(0))
        .with_http_connector(Connector)
        // HTTP/2 lets a server hand requests back, which the client then sends again.
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Http1Only), "true")
        // The limit of each call is its own, since it depends on how much there is to send.
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), "1 day")
        .build()
        .map_err(wrong)
}

fn retry(max_retries: usize) -> RetryConfig {
    let backoff = BackoffConfig::default();
    RetryConfig { backoff, max_retries, retry_timeout: Duration::from_secs(10) }
}
