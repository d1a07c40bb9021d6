// Milliseconds out of a field: a number of them, or a moment in ISO 8601. No clock is read here.

import { numberOf, type Value } from "./compare.ts";

const ISO =
  /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?(Z|[+-]\d{2}:?\d{2})?)?$/;
const DAY_MS = 86_400_000;

/** Milliseconds beyond which a time is none: what ECMAScript and most others can show as a date. */
export const TIME_MS_MAX = 8_640_000_000_000_000;

/** Days from 1970-01-01 to a day of the Gregorian calendar, after Howard Hinnant's `days_from_civil`. */
function daysFromCivil(year: number, month: number, day: number): number {
  const shifted = month <= 2 ? year - 1 : year;
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  const dayOfEra =
    yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}

const isLeap = (year: number): boolean => (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
const MONTH_DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

function offsetMs(zone: string | undefined): number | undefined {
  if (zone === undefined || zone === "Z") return 0;
  const hours = Number(zone.slice(1, 3));
  const minutes = Number(zone.slice(-2));
  if (hours > 23 || minutes > 59) return undefined;
  return (zone[0] === "-" ? -1 : 1) * (hours * 60 + minutes) * 60_000;
}

/** The milliseconds of a moment in ISO 8601; without a zone it is UTC. What lies below a millisecond is dropped. */
export function isoToMs(text: string): number | undefined {
  const match = ISO.exec(text);
  if (match === null) return undefined;
  const [year, month, day, hour, minute, second] = match
    .slice(1, 7)
    .map((part) => Number(part ?? "0")) as [number, number, number, number, number, number];
  const days = month === 2 && isLeap(year) ? 29 : MONTH_DAYS[month - 1];
  if (days === undefined || day < 1 || day > days) return undefined;
  if (hour > 23 || minute > 59 || second > 59) return undefined;
  const zone = offsetMs(match[8]);
  if (zone === undefined) return undefined;
  const millis = Number((match[7] ?? "").padEnd(3, "0").slice(0, 3));
  return (
    daysFromCivil(year, month, day) * DAY_MS +
    hour * 3_600_000 +
    minute * 60_000 +
    second * 1000 +
    millis -
    zone
  );
}

/** The time in a field, in whole milliseconds; undefined when it holds none. */
export function timeOf(value: Value | undefined): number | undefined {
  if (value === undefined) return undefined;
  const number = numberOf(value);
  if (number === undefined) return typeof value === "string" ? isoToMs(value) : undefined;
  const ms = Math.floor(Number(number));
  return Math.abs(ms) <= TIME_MS_MAX ? ms : undefined;
}

const pad = (value: number, digits: number): string => String(value).padStart(digits, "0");

/** The day that lies so many days after 1970-01-01, as ISO 8601, after Howard Hinnant's `civil_from_days`. */
export function isoDay(days: number): string {
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra -
      Math.floor(dayOfEra / 1460) +
      Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / 146_096)) /
      365,
  );
  const dayOfYear =
    dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shiftedMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1;
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const shown = year < 0 ? `-${pad(-year, 6)}` : year > 9999 ? `+${pad(year, 6)}` : pad(year, 4);
  return `${shown}-${pad(month, 2)}-${pad(day, 2)}`;
}

/** A moment as ISO 8601 without a zone. @param unitsPerSecond Of `value`: a thousand, a million or a billion. */
export function isoMoment(value: bigint, unitsPerSecond: bigint, digits: number): string {
  const perDay = 86_400n * unitsPerSecond;
  const ofDay = ((value % perDay) + perDay) % perDay;
  const days = Number((value - ofDay) / perDay);
  const second = Number(ofDay / unitsPerSecond);
  const fraction = (ofDay % unitsPerSecond).toString().padStart(digits, "0");
  const clock = [Math.floor(second / 3600), Math.floor(second / 60) % 60, second % 60];
  return `${isoDay(days)}T${clock.map((part) => pad(part, 2)).join(":")}.${fraction}`;
}
