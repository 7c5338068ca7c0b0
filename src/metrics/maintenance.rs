//! Which services are under maintenance, asked when a scrape does.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{LabelPair, MetricFamily, MetricType};

use crate::metrics::pool::{family, sample};

const NAME: &str = "replyd_maintenance_active";

const HELP: &str =
    "Whether the service is under maintenance; only of services that have a file for it.";

/// Tells whether a service is under maintenance at this moment.
pub type IsActive = Box<dyn Fn() -> bool + Send>;

/// Collects what every service with a maintenance file tells.
#[derive(Clone)]
pub(super) struct Maintenances {
    description: Desc,
    services: Arc<Mutex<Vec<(String, IsActive)>>>,
}

impl Maintenances {
    /// Of these services, and no others from now on.
    pub(super) fn set(&self, services: Vec<(String, IsActive)>) {
        *self.services() = services;
    }

    fn services(&self) -> MutexGuard<'_, Vec<(String, IsActive)>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Maintenances {
    fn default() -> Self {
        let labels = vec!["service".to_owned()];
        let description = Desc::new(NAME.to_owned(), HELP.to_owned(), labels, HashMap::new());
        Self {
            description: description.expect("invariant: names and labels are valid"),
            services: Arc::default(),
        }
    }
}

impl fmt::Debug for Maintenances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maintenances").finish_non_exhaustive()
    }
}

impl Collector for Maintenances {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.description]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let services = self.services();
        if services.is_empty() {
            return Vec::new();
        }
        let told = services.iter().map(|(service, is_active)| {
            let mut label = LabelPair::default();
            label.set_name("service".to_owned());
            label.set_value(service.clone());
            let value = f64::from(u8::from(is_active()));
            sample(MetricType::GAUGE, value, vec![label])
        });
        vec![family(NAME, HELP, MetricType::GAUGE, told.collect())]
    }
}
