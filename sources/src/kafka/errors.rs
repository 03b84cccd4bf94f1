//! What librdkafka's errors ask the caller to do.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::transport::SourceError;

/// What an error says about the records, apart from how to name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The wanted offset is not there.
    OffsetGone,
    /// The topic or partition is not there.
    TopicGone,
    /// A group's coordinator has a say that nobody asked for.
    Irrelevant,
    /// Brokers are down, or changing places.
    Unavailable,
    /// The brokers refuse who we are or what we ask.
    Configuration,
    /// Anything else.
    Failed,
}

/// Returns what an error means.
pub(super) fn meaning(error: &KafkaError) -> Meaning {
    match error.rdkafka_error_code() {
        Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => Meaning::OffsetGone,
        Some(
            Code::UnknownTopic
            | Code::UnknownPartition
            | Code::UnknownTopicOrPartition
            | Code::UnknownTopicId,
        ) => Meaning::TopicGone,
        Some(
            Code::GroupAuthorizationFailed
            | Code::CoordinatorNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::NotCoordinator,
        ) => Meaning::Irrelevant,
        Some(
            Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::TimedOutQueue
            | Code::MessageTimedOut
            | Code::Resolve
            | Code::NodeUpdate
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::NetworkException
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
            | Code::KafkaStorageError
            | Code::WaitingForCoordinator
            | Code::PreviousInProgress,
        ) => Meaning::Unavailable,
        Some(
            Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::Authentication
            | Code::SSL
            | Code::UnsupportedSASLMechanism
            | Code::InvalidTopic
            | Code::UnsupportedFeature
            | Code::UnsupportedVersion
            | Code::InvalidArgument,
        ) => Meaning::Configuration,
        _ => Meaning::Failed,
    }
}

/// Returns an error about no position: of a question to the brokers.
pub(super) fn from_kafka(source_name: &str, doing: &str, error: &KafkaError) -> SourceError {
    let source_name = source_name.to_owned();
    let detail = format!("{doing}: {error}");
    match meaning(error) {
        Meaning::Unavailable | Meaning::Irrelevant => {
            SourceError::Unavailable { source_name, detail }
        }
        Meaning::TopicGone | Meaning::Configuration => {
            SourceError::Configuration { source_name, detail }
        }
        Meaning::OffsetGone | Meaning::Failed => {
            SourceError::Failed { source_name, detail, cause: Some(Box::new(error.clone())) }
        }
    }
}
