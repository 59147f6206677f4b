//! Tests of the size of generated worlds.

use crate::{Config, Filter, start};

#[tokio::test]
async fn world_has_the_configured_size() {
    let mut config = Config {
        seed: Some(3),
        accounts: 1,
        people: 30,
        history: 10,
        ..Config::default()
    };
    config.providers.github.repositories = 12;
    (
        config.providers.slack.channels,
        config.providers.slack.replies,
    ) = (40, Some(3));
    (config.providers.jira.projects, config.providers.jira.issues) = (8, Some(4));
    let simulator = start(config).await.expect("a simulator");
    let facts = |kind: &str| {
        let filter = Filter {
            kind: Some(kind.to_owned()),
            ..Filter::default()
        };
        simulator.ledger(&filter)
    };
    {
        let github = simulator.providers.github.world();
        assert_eq!(github.repositories.len(), 12);
        let account = github.accounts.values().next().expect("an account");
        assert_eq!(account.members.len(), 31);
        let slack = simulator.providers.slack.world();
        assert_eq!(slack.channels.len(), 40);
        let team = slack.teams.values().next().expect("a workspace");
        assert_eq!(team.people.len(), 31);
        let jira = simulator.providers.jira.world();
        let site = jira.sites.values().next().expect("a site");
        assert_eq!((site.projects.len(), site.people.len()), (8, 31));
        for project in site.projects.values() {
            let issues = site.issues.values();
            let own = issues.filter(|issue| issue.project == project.id);
            assert_eq!(own.count(), 4, "{}", project.key);
        }
        for channel in slack.channels.values() {
            let messages = channel.messages.values();
            let replies = messages.filter(|message| message.thread.is_some());
            assert_eq!(replies.count(), 3, "{}", channel.name);
        }
    }
    let of = |source: &str| {
        let filter = Filter {
            source: Some(source.to_owned()),
            ..Filter::default()
        };
        simulator.ledger(&filter).len()
    };
    assert!(of("github") >= 120, "{}", of("github"));
    let replied = facts("thread_replied");
    let slack = replied.iter().filter(|entry| entry.source == "slack");
    assert_eq!(slack.count(), 120);
    let created = facts("issue_created");
    let jira = created.iter().filter(|entry| entry.source == "jira");
    assert_eq!(jira.count(), 32);
}
