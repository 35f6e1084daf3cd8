//! The clients against stand-ins of the services, over sockets of loopback.

#[cfg(test)]
mod collector;
#[cfg(test)]
mod files;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod setup;
