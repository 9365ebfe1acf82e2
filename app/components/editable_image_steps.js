// What a person did to masks and had not kept, in the tab's storage: a page that is loaded again still has it.
const EDITS = "maskdistill edits";
const MOST_KEPT = 8; // masks

class StepLog {
  // subject: a mask; owner: the same with the shape that the steps are about. mine: the steps on this shape; sent: of an
  // earlier shape, where they were on their way to be kept.
  read(subject, owner) {
    const all = readEdits();
    const sent = Object.entries(all).find(([other, item]) => other !== owner && item.subject === subject && item.keep);
    return { mine: all[owner], sent: sent && { owner: sent[0], keep: sent[1].keep } };
  }

  // The steps on this shape in place of all others on the mask; none where there are none.
  write(subject, owner, steps, keep) {
    const others = Object.entries(readEdits()).filter(([, item]) => item.subject !== subject);
    const mine = steps.length ? [[owner, { subject, steps, keep }]] : [];
    const latest = [...others, ...mine].slice(-MOST_KEPT);
    try {
      sessionStorage.setItem(EDITS, JSON.stringify(Object.fromEntries(latest)));
    } catch {
      // without storage they last as long as the page
    }
  }
}

function readEdits() {
  try {
    return JSON.parse(sessionStorage.getItem(EDITS)) ?? {};
  } catch {
    return {};
  }
}
