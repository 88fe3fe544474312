import type { ProofAnswer } from "../api/wire";
import { formatCount, plural } from "./format";
import type { Report } from "./report";

/** A look at the values in training: what really changed since the look before, by row of the report. */
export interface Proof {
  /** Whether the log holds a look for this report. */
  present: boolean;
  step: number | null;
  since: number | null;
  steps: number;
  /** What the look took. */
  seconds: number;
  /** Steps for which the bits were the same: 0 where they changed, -1 where it is not known. */
  ages: readonly number[];
  judgements: readonly number[];
  slotAges: readonly number[];
  slotJudgements: readonly number[];
}

/** Changed though no op of the step writes it. */
export const MOVED = 1;
/** Unchanged though each step writes it. */
export const STILL = 2;

export const NO_PROOF: Proof = { present: false, step: null, since: null, steps: 0, seconds: 0, ages: [], judgements: [], slotAges: [], slotJudgements: [] };

/** The look that an answer tells of, where it is of this report's variables. */
export function readProof(report: Report, answer: ProofAnswer | null): Proof {
  const { variables, slots } = report.wire;
  if (!answer || answer.looked_at === null || answer.variables_id !== report.wire.variables_id) return NO_PROOF;
  if (answer.age.length !== variables.rows || answer.slot_age.length !== slots.rows) return NO_PROOF;
  return {
    present: true,
    step: answer.step,
    since: answer.since,
    steps: answer.steps ?? 0,
    seconds: typeof answer.seconds === "number" ? answer.seconds : 0,
    ages: answer.age,
    judgements: answer.judgement,
    slotAges: answer.slot_age,
    slotJudgements: answer.slot_judgement,
  };
}

export const isContradicted = (proof: Proof, row: number): boolean => (proof.judgements[row] ?? 0) !== 0;

/** One word for a cell. */
export const wordOfAge = (age: number | undefined): string => (age === undefined || age < 0 ? "–" : age === 0 ? "yes" : "no");

/** "between steps 300 and 400", or how many steps where their numbers are not known. */
export function describeWindow(proof: Proof): string {
  if (proof.since === null || proof.step === null || proof.step <= proof.since) return `in the last ${plural(proof.steps, "step")}`;
  return `between steps ${formatCount(proof.since)} and ${formatCount(proof.step)}`;
}

/** What a look says of one variable or slot, in a sentence. */
export function describeAge(age: number | undefined, judgement: number | undefined, proof: Proof): string {
  if (age === undefined || age < 0) return "Not looked at.";
  if (age === 0) {
    const what = `Changed ${describeWindow(proof)}`;
    return judgement === MOVED ? `${what}, though no op of this step writes it: a callback, set_weights or another step does.` : `${what}.`;
  }
  const what = `The same to the bit for ${plural(age, "step")}`;
  if (judgement !== STILL) return `${what}.`;
  return `${what}, though each step writes it: its gradient is zero, or the learning rate, or the dtype swallows the update.`;
}

/** How many variables contradict the report, by sort. */
export function countContradictions(proof: Proof): { moved: number; still: number } {
  let [moved, still] = [0, 0];
  for (const judgement of proof.judgements) {
    if (judgement === MOVED) moved++;
    else if (judgement === STILL) still++;
  }
  return { moved, still };
}

/** What the look says of the whole, and whether it contradicts the report. */
export function describeProof(proof: Proof): { words: string; contradicts: boolean } {
  const looked = proof.ages.filter((age) => age >= 0).length;
  const changed = proof.ages.filter((age) => age === 0).length;
  const { moved, still } = countContradictions(proof);
  const parts = [
    moved > 0 ? `${formatCount(moved)} of them though no op of the step writes ${moved === 1 ? "it" : "them"}` : "",
    still > 0 ? `${formatCount(still)} that the step writes did not` : "",
  ].filter(Boolean);
  const words = `Seen in the values: ${formatCount(changed)} of ${plural(looked, "variable")} changed ${describeWindow(proof)}`;
  return { words: parts.length > 0 ? `${words}, ${parts.join(", and ")}.` : `${words}, as the step says.`, contradicts: parts.length > 0 };
}
