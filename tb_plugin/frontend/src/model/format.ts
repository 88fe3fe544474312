import type { Float, LocationWire } from "../api/wire";

const NONE = "–";

/** A count with thin groups of three, as TensorBoard writes steps. */
export function formatCount(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

/** A count for a narrow cell: from ten thousand on in thousands. */
export function formatShort(value: number): string {
  if (value < 10_000) return formatCount(value);
  return value < 999_500 ? `${Math.round(value / 1000)}k` : `${Number((value / 1e6).toPrecision(3))}M`;
}

/** A norm in at most seven characters; what was not measured is a dash. */
export function formatNorm(value: Float | undefined): string {
  if (value === null || value === undefined) return NONE;
  if (typeof value === "string") return value;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 0.01 && size < 10_000) return value.toPrecision(3).replace(/\.0+$/, "");
  return value.toExponential(1);
}

export const toNumber = (value: Float | undefined): number | null =>
  typeof value === "number" ? value : value === "inf" ? Infinity : value === "-inf" ? -Infinity : value === "nan" ? NaN : null;

export function formatShape(shape: readonly (number | null)[]): string {
  return shape.length === 0 ? "scalar" : shape.map((size) => size ?? "?").join(" × ");
}

/** "/job:localhost/replica:0/task:0/device:GPU:0" becomes "GPU:0"; a task other than 0 keeps its number. */
export function formatDevice(device: string | null): string {
  if (!device) return NONE;
  const match = /(?:\/job:([^/]+))?(?:\/replica:\d+)?(?:\/task:(\d+))?\/device:(.+)$/.exec(device);
  if (!match) return device;
  const [, job, task, name] = match;
  return task && task !== "0" ? `${job ?? "task"}/${task} ${name}` : (name as string);
}

export function formatShare(value: Float): string {
  return typeof value === "number" ? `${Number((value * 100).toPrecision(3))} %` : formatNorm(value);
}

/** Of which update of a step a measured gradient is; nothing where there is one. */
export const firstOf = (updates: number | undefined): string => (updates && updates > 1 ? `first of ${formatCount(updates)} updates` : "");

export function formatLocation(location: LocationWire): string {
  return `${location.file}:${location.line}`;
}

export function formatTime(seconds: number | null): string {
  if (!seconds) return NONE;
  return new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

export const plural = (count: number, one: string, many = `${one}s`): string => `${formatCount(count)} ${count === 1 ? one : many}`;
