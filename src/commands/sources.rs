//! From configured sources to transports and formats.

use std::sync::Arc;

use trueup_sources::{Format, Json, LocalLog, Transport};
#[cfg(feature = "kafka")]
use trueup_sources::{Kafka, KafkaConfig};

use crate::config::{FormatConfig, SourceConfig, TransportConfig};

/// Builds the transport of a source; nothing is opened yet.
pub(super) fn transport(source: &SourceConfig) -> anyhow::Result<Box<dyn Transport>> {
    match &source.transport {
        TransportConfig::LocalLog { path } => Ok(Box::new(LocalLog::new(path))),
        #[cfg(feature = "kafka")]
        TransportConfig::Kafka { brokers, topic, from_oldest, properties } => {
            let mut config = KafkaConfig::new(brokers, topic);
            config.allow_missing_beginning = *from_oldest;
            config.properties.extend(properties.0.iter().cloned());
            Ok(Box::new(Kafka::new(config)?))
        }
        #[cfg(not(feature = "kafka"))]
        TransportConfig::Kafka { .. } => Err(crate::exit::usage(
            "this trueup was built without Kafka; build it with `--features kafka`",
        )),
    }
}

/// Builds the format of a source.
pub(super) fn format(source: &SourceConfig) -> Arc<dyn Format> {
    match source.format {
        FormatConfig::Json => Arc::new(Json),
    }
}
