//! A panic of a verifier fails one request, which gets a response and is counted.

use std::sync::Arc;

use async_trait::async_trait;
use shared::config::Env;
use shared::connectors::{
    KeySource, ProviderDescriptor, VerifyError, WebhookReceipt, WebhookRequest, WebhookVerifier,
};
use shared::telemetry::MetricsHandle;
use tests::harness::{System, free_address};
use tokio::net::TcpListener;
use webhook_ingress::Config;

/// Verifier that panics on every body except an empty one, which it rejects.
struct Panicking(ProviderDescriptor);

#[async_trait]
impl WebhookVerifier for Panicking {
    fn descriptor(&self) -> &ProviderDescriptor {
        &self.0
    }

    fn is_configured(&self) -> bool {
        true
    }

    async fn verify(
        &self,
        request: &WebhookRequest<'_>,
        _: &dyn KeySource,
    ) -> Result<WebhookReceipt, VerifyError> {
        assert!(request.body.is_empty(), "the verifier expects no body");
        Err(VerifyError::Mismatch)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn panic_of_a_verifier_costs_one_request() {
    let system = System::with_fast_provider().workers(0).start().await;
    let address = free_address();
    let mut config = Config::from_env(&Env::from_pairs(system.env.clone())).expect("settings");
    let github = config.webhooks.get("github").expect("a provider");
    let panicking = Panicking(github.descriptor().clone());
    config.webhooks.replace(Arc::new(panicking));
    let listener = TcpListener::bind(address).await.expect("a free port");
    let metrics = MetricsHandle::global().expect("a recorder");
    let service = webhook_ingress::start(config, listener, metrics).await;
    let lifecycle = service.expect("the ingress starts").lifecycle().clone();
    let ingress = format!("http://{address}");
    let counted = async || {
        let label = "result=\"panicked\"";
        system
            .metric(&ingress, "poblysh_webhook_deliveries_total", label)
            .await
    };
    let before = counted().await;
    for (body, status) in [("{}", 500), ("", 401), ("{}", 500)] {
        let request = system.client.post(format!("{ingress}/webhooks/github"));
        let request = request
            .header("X-GitHub-Event", "issues")
            .header("X-GitHub-Delivery", "d-1")
            .header("X-Hub-Signature-256", "sha256=00")
            .body(body);
        let response = request.send().await.expect("an ingress response");
        assert_eq!(response.status().as_u16(), status, "{body:?}");
        let kind = &response.headers()["content-type"];
        assert_eq!(kind, "application/problem+json");
    }
    assert!(counted().await - before > 1.5, "both are counted");
    lifecycle.draining().cancel();
    lifecycle.aborted().cancel();
}
