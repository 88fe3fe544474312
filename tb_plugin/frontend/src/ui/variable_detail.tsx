import { firstOf, formatCount, formatDevice, formatNorm, formatShape, formatShare } from "../model/format";
import { describeAge, type Proof, wordOfAge } from "../model/proof";
import { type Report, severityOf, shapeOf, type Slot, slotsOf, text, variableStatus, type Write, writesOf } from "../model/report";
import { fullWord } from "../model/status";
import { Icon, SEVERITY_ICONS, STATUS_ICONS, UPDATED_ICONS } from "./icons";
import { type Fact, Facts, Place, Prose, Section } from "./pieces";

/** All that the report says of one variable, but for its findings. */
export function VariableFacts({ report, row, onLayer }: { report: Report; row: number; onLayer: (path: string) => void }) {
  const { variables } = report.wire;
  const word = (column: readonly number[]) => text(report, column[row] as number);
  const layer = word(variables.layer);
  const reason = word(variables.reason);
  const replicas = variables.replicas.slice(variables.replicas_start[row], variables.replicas_start[row + 1]);
  const facts: Fact[] = [
    ["flag", variables.trainable[row] === 1 ? "trainable" : "frozen"],
    ["expected", variables.expected[row] === 1 ? "trains" : "does not train"],
    ["decided by", word(variables.decided_by)],
    ["updated", word(variables.updated)],
    ["gradient", word(variables.gradient)],
    ["reason", reason && <Prose text={reason} />],
    [
      "layer",
      layer && (
        <button type="button" class="link" onClick={() => onLayer(layer)}>
          {layer}
        </button>
      ),
    ],
    ["shape", formatShape(shapeOf(report, row))],
    ["dtype", word(variables.dtype)],
    ["optimizer", word(variables.optimizer) ?? "none tracks it"],
    ["device", formatDevice(word(variables.device))],
    ["gradient device", word(variables.gradient_device) && formatDevice(word(variables.gradient_device))],
    ["replicas", replicas.length > 0 && replicas.map((i) => formatDevice(text(report, i))).join(", ")],
    ["tracked", variables.tracked[row] === 1 ? null : "not by the model"],
  ];
  return (
    <Section title="Variable">
      <Facts facts={facts.filter(([, value]) => value !== false)} />
    </Section>
  );
}

export function VariableStatus({ report, row }: { report: Report; row: number }) {
  const severity = severityOf(report, row);
  const status = variableStatus(report, row);
  const severe = severity === "error" || severity === "warning";
  return (
    <p class={`status severity-${severity}`}>
      <Icon name={severe ? SEVERITY_ICONS[severity] : STATUS_ICONS[status.kind]} /> {fullWord(status, severity)}
    </p>
  );
}

export function Writes({ report, row }: { report: Report; row: number }) {
  const writes = writesOf(report, row);
  return (
    <Section title="Writes">
      {writes.length === 0 && <p class="muted">The step does not write it.</p>}
      <ul class="writes">
        {writes.map((write, i) => (
          <li key={i}>
            <WriteItem write={write} />
          </li>
        ))}
      </ul>
    </Section>
  );
}

function WriteItem({ write }: { write: Write }) {
  return (
    <>
      <b>{write.kind}</b>
      {write.conditional && <span class="muted"> in a branch: not at each step</span>}
      <Facts
        facts={[
          ["op", write.op && <code>{write.op}</code>],
          ["type", write.opType],
          ["function", write.function],
          ["trace", write.trace],
          ["device", write.device && formatDevice(write.device)],
          ["placed", write.placed && formatDevice(write.placed)],
          ["code", write.location && <Place location={write.location} />],
        ]}
      />
    </>
  );
}

/** What a look at the values says of one variable. */
export function ProofSection({ proof, row }: { proof: Proof; row: number }) {
  if (!proof.present) return null;
  const [age, judgement] = [proof.ages[row], proof.judgements[row] ?? 0];
  return (
    <Section title="Seen in the values" aside={proof.step === null ? undefined : `step ${formatCount(proof.step)}`}>
      <p class={judgement === 0 ? undefined : "contradicts"}>
        <Icon name={judgement !== 0 ? "warning" : (UPDATED_ICONS.get(wordOfAge(age)) ?? "question")} size={14} /> {describeAge(age, judgement, proof)}
      </p>
    </Section>
  );
}

export function Slots({ report, row, proof }: { report: Report; row: number; proof: Proof }) {
  const slots = slotsOf(report, row);
  const first = report.wire.variables.slots_start[row] as number;
  if (slots.length === 0) return null;
  return (
    <Section title="Slots" aside={formatCount(slots.length)}>
      <table class="plain">
        <thead>
          <tr>
            <th scope="col">slot</th>
            <th scope="col">updated</th>
            {proof.present && <th scope="col">changed</th>}
            <th scope="col">device</th>
            <th scope="col">placed</th>
          </tr>
        </thead>
        <tbody>
          {slots.map((slot, i) => (
            <SlotLine key={slot.path} slot={slot} place={first + i} proof={proof} />
          ))}
        </tbody>
      </table>
    </Section>
  );
}

function SlotLine({ slot, place, proof }: { slot: Slot; place: number; proof: Proof }) {
  const [age, judgement] = [proof.slotAges[place], proof.slotJudgements[place] ?? 0];
  return (
    <tr>
      <th scope="row" title={slot.path}>
        {slot.name}
      </th>
      <td>
        <Icon name={UPDATED_ICONS.get(slot.updated) ?? "question"} size={14} /> {slot.updated}
      </td>
      {proof.present && (
        <td title={describeAge(age, judgement, proof)} class={judgement === 0 ? undefined : "contradicts"}>
          {judgement !== 0 && <Icon name="warning" size={14} />} {wordOfAge(age)}
        </td>
      )}
      <td>{formatDevice(slot.device)}</td>
      <td>{slot.placed ? formatDevice(slot.placed) : "not read"}</td>
    </tr>
  );
}

const TRUTH: Record<number, string> = { 0: "no", 1: "yes" };

/** The numbers of one real step, where the report holds them. */
export function MeasuredFacts({ report, row }: { report: Report; row: number }) {
  const { variables, measured } = report.wire;
  const at = variables.measured[row] ?? -1;
  if (at < 0) return null;
  const placed = text(report, measured.placed[at] as number);
  const first = firstOf(report.wire.updates[row]);
  return (
    <Section title="Measured in one step">
      <Facts
        facts={[
          ["gradient norm", first ? `${formatNorm(measured.gradient_norm[at])}, ${first}` : formatNorm(measured.gradient_norm[at])],
          ["update norm", formatNorm(measured.update_norm[at])],
          ["weight norm", formatNorm(measured.weight_norm[at])],
          ["zeros in the gradient", formatShare(measured.zero_fraction[at] ?? null)],
          ["all finite", TRUTH[measured.finite[at] as number]],
          ["dtype resolves the update", TRUTH[measured.resolved[at] as number]],
          ["placed", placed && formatDevice(placed)],
        ]}
      />
    </Section>
  );
}
