//! A short walk of the fuzz targets' bodies with bytes drawn at random; `cargo fuzz` goes further.

use everstep_store_embedded::fuzzing;
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_file_of_any_bytes_is_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..12_000)) {
        fuzzing::segment(&bytes);
        fuzzing::head(&bytes);
        fuzzing::frames(&bytes);
    }

    #[test]
    fn frames_of_records_that_nearly_fit_are_read_to_an_end(
        count in 0_u8..4,
        records in prop::collection::vec((0_u16..4, 0_u64..6, 0_u32..40), 0..6),
    ) {
        let mut bytes = vec![count];
        for (partition, group, length) in records {
            bytes.extend_from_slice(&partition.to_le_bytes());
            bytes.extend_from_slice(&group.to_le_bytes());
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend((0..length).map(|at| at as u8));
        }
        fuzzing::frames(&bytes);
    }
}
