//! A broker starts, does what it is asked, keeps its data over a crash, and leaves nothing behind.

use std::path::Path;

use trueup_testing::kafka::KafkaBroker;

fn is_alive(process: u32) -> bool {
    Path::new(&format!("/proc/{process}")).exists()
}

#[test]
fn broker_lives_as_long_as_its_value() -> anyhow::Result<()> {
    let mut broker = KafkaBroker::start_with(&[("message.max.bytes", "2097152")])?;
    broker.create_topic("postings", 2)?;
    assert_eq!(broker.partitions("postings")?, Some(2));
    assert_eq!(broker.partitions("absent")?, None);
    assert!(broker.create_topic("postings", 2).is_err());

    // Kafka's own tool sees the same.
    let said = broker.tool("org.apache.kafka.tools.TopicCommand", &["--describe"])?;
    assert!(said.contains("PartitionCount: 2"), "{said}");

    broker.create_topic_with("gaps", 1, &[("retention.ms", "-1")])?;
    let produce = "--topic gaps --num-records 10 --record-size 8 --throughput -1";
    let args: Vec<&str> = produce.split(' ').collect();
    broker.tool("org.apache.kafka.tools.ProducerPerformance", &args)?;
    broker.delete_records("gaps", 0, 4)?;
    assert!(broker.delete_records("gaps", 0, 11).is_err(), "there are only ten records");

    let first = broker.process_id();
    broker.kill()?;
    assert!(broker.partitions("postings").is_err(), "a killed broker does not answer");
    broker.restart()?;
    assert_ne!(broker.process_id(), first);
    assert_eq!(broker.partitions("postings")?, Some(2));
    broker.restart()?;
    broker.delete_topic("postings")?;
    assert_eq!(broker.partitions("postings")?, None);

    let process = broker.process_id();
    assert!(process.is_some_and(is_alive));
    drop(broker);
    assert!(!process.is_some_and(is_alive));
    assert!(!first.is_some_and(is_alive));
    Ok(())
}
