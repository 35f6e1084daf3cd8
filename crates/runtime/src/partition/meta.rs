//! A partition's own state, as it is folded beside its rows.
//!
//! Field numbers are frozen: a newer binary reads the blob of an older one.

use everstep_model::{Envelope, Kind, PartitionId, Position, Status, message, stored, wire};

use super::Partition;

struct Meta {
    instances: u64,
    next_parcel: u64,
    outbox: Vec<Outgoing>,
    positions: Vec<Position>,
    parcels: Vec<(u64, Envelope)>,
    counts: Vec<Count>,
}

struct Outgoing {
    to: PartitionId,
    at: Position,
    envelope: Envelope,
}

struct Count {
    entities: bool,
    name: String,
    status: u32,
    instances: u64,
}

// frozen
message!(Meta { 1 instances, 2 next_parcel, 3 outbox, 4 positions, 5 parcels, 6 counts });
// frozen
message!(Outgoing { 1 to, 2 at, 3 envelope });
// frozen
message!(Count { 1 entities, 2 name, 3 status, 4 instances });

impl Partition {
    pub(super) fn encode_meta(&self) -> Vec<u8> {
        let outgoing = |((to, at), envelope): (&(PartitionId, Position), &Envelope)| Outgoing {
            to: *to,
            at: *at,
            envelope: envelope.clone(),
        };
        let count = |((kind, name, status), count): (&(Kind, String, Status), &i64)| Count {
            entities: *kind == Kind::Entity,
            name: name.clone(),
            status: *status as u32,
            instances: u64::try_from(*count).unwrap_or(0),
        };
        let meta = Meta {
            instances: self.instances,
            next_parcel: self.next_parcel,
            outbox: self.outbox.iter().map(outgoing).collect(),
            positions: self.positions.values().copied().collect(),
            parcels: self
                .parcels
                .iter()
                .map(|(number, envelope)| (*number, envelope.clone()))
                .collect(),
            counts: self.counts.iter().filter(|(_, count)| **count > 0).map(count).collect(),
        };
        let mut out = Vec::new();
        stored::encode(&mut out, &meta);
        out
    }

    pub(super) fn decode_meta(&mut self, bytes: &[u8]) -> Result<(), wire::Error> {
        let meta: Meta = stored::decode(bytes)?;
        self.instances = meta.instances;
        self.next_parcel = meta.next_parcel;
        self.outbox = meta
            .outbox
            .into_iter()
            .map(|Outgoing { to, at, envelope }| ((to, at), envelope))
            .collect();
        self.positions = meta.positions.into_iter().map(|at| (at.partition, at)).collect();
        self.parcels = meta.parcels.into_iter().collect();
        for Count { entities, name, status, instances } in meta.counts {
            let kind = if entities { Kind::Entity } else { Kind::Orchestration };
            if let Some(status) = u8::try_from(status).ok().and_then(Status::from_number) {
                self.counts.insert((kind, name, status), instances.cast_signed());
            }
        }
        Ok(())
    }
}
