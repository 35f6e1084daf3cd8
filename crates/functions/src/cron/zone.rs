//! Time zones by the names that settings use.
//!
//! Z1  IANA names go before those of Windows; both are compared without case.
//! Z2  The machine's database comes first, since it may be newer; the one within the binary knows every zone on a
//!     machine that has none.

use jiff::{
    Timestamp as Instant,
    tz::{self, Offset, TimeZone, TimeZoneDatabase},
};

use super::Error;

/// Where local time is that of.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone(TimeZone);

/// A time during which the offset to UTC stays.
pub(super) struct Stretch {
    /// Its beginning, and the offset before it.
    pub(super) start: Option<(Instant, Offset)>,
    /// Where the next begins.
    pub(super) end: Option<Instant>,
    /// Local time less UTC.
    pub(super) offset: Offset,
}

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Self = Self(TimeZone::UTC);

    /// The zone of `WEBSITE_TIME_ZONE`, else of `TZ`, else the machine's. A setting of no text counts as absent.
    pub fn from_settings(website_time_zone: Option<&str>, tz: Option<&str>) -> Result<Self, Error> {
        for (key, name) in [("WEBSITE_TIME_ZONE", website_time_zone), ("TZ", tz)] {
            if let Some(name) = name.map(str::trim).filter(|name| !name.is_empty()) {
                return Self::named(name)
                    .ok_or_else(|| Error::Zone { key: key.to_owned(), name: name.to_owned() });
            }
        }
        Ok(Self(TimeZone::try_system().unwrap_or(TimeZone::UTC)))
    }

    /// A zone by its IANA name or by that of Windows. The colon before a name that `TZ` may have is left out.
    pub fn named(name: &str) -> Option<Self> {
        let name = name.strip_prefix(':').unwrap_or(name);
        let of_windows = || {
            let found = WINDOWS.iter().find(|(windows, _)| windows.eq_ignore_ascii_case(name));
            found.and_then(|(_, iana)| in_database(iana))
        };
        in_database(name).or_else(of_windows).map(Self)
    }

    /// Its IANA name; `local` where the machine does not tell.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("local")
    }

    pub(super) fn offset(&self, at: Instant) -> Offset {
        self.0.to_offset(at)
    }

    /// The instant of a local time: the earlier of two, and the later side of a gap.
    pub(super) fn instant(&self, local: jiff::civil::DateTime) -> Option<Instant> {
        self.0.to_timestamp(local).ok()
    }

    /// The stretch that holds an instant.
    pub(super) fn stretch(&self, at: Instant) -> Stretch {
        let tick = jiff::SignedDuration::from_nanos(1);
        let inclusive = at.checked_add(tick).unwrap_or(Instant::MAX);
        let start = self.0.preceding(inclusive).next().and_then(|transition| {
            let start = transition.timestamp();
            Some((start, self.0.to_offset(start.checked_sub(tick).ok()?)))
        });
        let end = self.0.following(at).next().map(|transition| transition.timestamp());
        Stretch { start, end, offset: self.0.to_offset(at) }
    }
}

fn in_database(name: &str) -> Option<TimeZone> {
    let known = tz::db().get(name).or_else(|_| TimeZoneDatabase::bundled().get(name)).ok()?;
    (!known.is_unknown()).then_some(known)
}

/// Zones by the names of Windows.
const WINDOWS: &[(&str, &str)] = &[
    ("AUS Central Standard Time", "Australia/Darwin"),
    ("AUS Eastern Standard Time", "Australia/Sydney"),
    ("Afghanistan Standard Time", "Asia/Kabul"),
    ("Alaskan Standard Time", "America/Anchorage"),
    ("Arab Standard Time", "Asia/Riyadh"),
    ("Arabian Standard Time", "Asia/Dubai"),
    ("Arabic Standard Time", "Asia/Baghdad"),
    ("Argentina Standard Time", "America/Argentina/Buenos_Aires"),
    ("Atlantic Standard Time", "America/Halifax"),
    ("Azerbaijan Standard Time", "Asia/Baku"),
    ("Azores Standard Time", "Atlantic/Azores"),
    ("Bangladesh Standard Time", "Asia/Dhaka"),
    ("Belarus Standard Time", "Europe/Minsk"),
    ("Canada Central Standard Time", "America/Regina"),
    ("Cape Verde Standard Time", "Atlantic/Cape_Verde"),
    ("Caucasus Standard Time", "Asia/Yerevan"),
    ("Cen. Australia Standard Time", "Australia/Adelaide"),
    ("Central America Standard Time", "America/Guatemala"),
    ("Central Asia Standard Time", "Asia/Almaty"),
    ("Central Brazilian Standard Time", "America/Cuiaba"),
    ("Central Europe Standard Time", "Europe/Budapest"),
    ("Central European Standard Time", "Europe/Warsaw"),
    ("Central Pacific Standard Time", "Pacific/Guadalcanal"),
    ("Central Standard Time", "America/Chicago"),
    ("Central Standard Time (Mexico)", "America/Mexico_City"),
    ("China Standard Time", "Asia/Shanghai"),
    ("Cuba Standard Time", "America/Havana"),
    ("E. Africa Standard Time", "Africa/Nairobi"),
    ("E. Australia Standard Time", "Australia/Brisbane"),
    ("E. Europe Standard Time", "Europe/Chisinau"),
    ("E. South America Standard Time", "America/Sao_Paulo"),
    ("Eastern Standard Time", "America/New_York"),
    ("Egypt Standard Time", "Africa/Cairo"),
    ("Ekaterinburg Standard Time", "Asia/Yekaterinburg"),
    ("FLE Standard Time", "Europe/Kyiv"),
    ("Fiji Standard Time", "Pacific/Fiji"),
    ("GMT Standard Time", "Europe/London"),
    ("GTB Standard Time", "Europe/Bucharest"),
    ("Georgian Standard Time", "Asia/Tbilisi"),
    ("Greenland Standard Time", "America/Nuuk"),
    ("Greenwich Standard Time", "Atlantic/Reykjavik"),
    ("Hawaiian Standard Time", "Pacific/Honolulu"),
    ("India Standard Time", "Asia/Kolkata"),
    ("Iran Standard Time", "Asia/Tehran"),
    ("Israel Standard Time", "Asia/Jerusalem"),
    ("Jordan Standard Time", "Asia/Amman"),
    ("Korea Standard Time", "Asia/Seoul"),
    ("Lord Howe Standard Time", "Australia/Lord_Howe"),
    ("Mauritius Standard Time", "Indian/Mauritius"),
    ("Middle East Standard Time", "Asia/Beirut"),
    ("Montevideo Standard Time", "America/Montevideo"),
    ("Morocco Standard Time", "Africa/Casablanca"),
    ("Mountain Standard Time", "America/Denver"),
    ("Myanmar Standard Time", "Asia/Yangon"),
    ("Namibia Standard Time", "Africa/Windhoek"),
    ("Nepal Standard Time", "Asia/Kathmandu"),
    ("New Zealand Standard Time", "Pacific/Auckland"),
    ("Newfoundland Standard Time", "America/St_Johns"),
    ("North Asia Standard Time", "Asia/Krasnoyarsk"),
    ("Pacific SA Standard Time", "America/Santiago"),
    ("Pacific Standard Time", "America/Los_Angeles"),
    ("Pacific Standard Time (Mexico)", "America/Tijuana"),
    ("Pakistan Standard Time", "Asia/Karachi"),
    ("Romance Standard Time", "Europe/Paris"),
    ("Russian Standard Time", "Europe/Moscow"),
    ("SA Eastern Standard Time", "America/Cayenne"),
    ("SA Pacific Standard Time", "America/Bogota"),
    ("SA Western Standard Time", "America/La_Paz"),
    ("SE Asia Standard Time", "Asia/Bangkok"),
    ("Samoa Standard Time", "Pacific/Apia"),
    ("Singapore Standard Time", "Asia/Singapore"),
    ("South Africa Standard Time", "Africa/Johannesburg"),
    ("Sri Lanka Standard Time", "Asia/Colombo"),
    ("Syria Standard Time", "Asia/Damascus"),
    ("Taipei Standard Time", "Asia/Taipei"),
    ("Tasmania Standard Time", "Australia/Hobart"),
    ("Tokyo Standard Time", "Asia/Tokyo"),
    ("Tonga Standard Time", "Pacific/Tongatapu"),
    ("Turkey Standard Time", "Europe/Istanbul"),
    ("US Eastern Standard Time", "America/Indiana/Indianapolis"),
    ("US Mountain Standard Time", "America/Phoenix"),
    ("UTC", "Etc/UTC"),
    ("Ulaanbaatar Standard Time", "Asia/Ulaanbaatar"),
    ("Venezuela Standard Time", "America/Caracas"),
    ("Vladivostok Standard Time", "Asia/Vladivostok"),
    ("W. Australia Standard Time", "Australia/Perth"),
    ("W. Central Africa Standard Time", "Africa/Lagos"),
    ("W. Europe Standard Time", "Europe/Berlin"),
    ("West Asia Standard Time", "Asia/Tashkent"),
    ("West Pacific Standard Time", "Pacific/Port_Moresby"),
    ("Yakutsk Standard Time", "Asia/Yakutsk"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_windows_leads_to_a_zone_of_the_bundled_database() {
        let bundled = TimeZoneDatabase::bundled();
        for (windows, iana) in WINDOWS {
            assert!(bundled.get(iana).is_ok(), "{windows}: {iana}");
            assert!(Zone::named(&windows.to_lowercase()).is_some(), "{windows}");
        }
    }

    #[test]
    fn the_setting_of_the_website_goes_before_tz_and_an_empty_one_is_none() {
        let name = |website, tz| {
            Zone::from_settings(website, tz).map(|zone| zone.name().to_owned()).expect("known")
        };
        assert_eq!(name(Some("W. Europe Standard Time"), Some("Asia/Tokyo")), "Europe/Berlin");
        assert_eq!(name(Some(" "), Some(":asia/tokyo")), "Asia/Tokyo");
        assert!(Zone::from_settings(None, Some("")).is_ok());
    }

    #[test]
    fn an_unknown_zone_is_refused_with_examples() {
        let error = Zone::from_settings(None, Some("Berlin")).expect_err("not a name");
        assert_eq!(
            error.to_string(),
            "the setting `TZ` names the time zone `Berlin`, which is not known; write a name such as \
             `Europe/Berlin`, `W. Europe Standard Time` or `UTC`"
        );
        assert_eq!(Zone::named("Etc/Unknown"), None);
    }
}
