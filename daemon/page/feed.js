// Asks the daemon once a second for what is new. When it does not answer, it is asked on.

const INTERVAL_MS = 1000;
const TIMEOUT_MS = 5000;
/** Programs change rarely. */
const STATUS_EVERY = 10;

/** The answer, or an error with a sentence for people. */
async function ask(path) {
  let answer;
  try {
    answer = await fetch(path, { cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (answer.ok) return await answer.json();
  } catch (error) {
    const sentence = error.name === 'TimeoutError' ? 'the daemon does not answer' : 'the daemon cannot be reached';
    throw new Error(sentence, { cause: error });
  }
  if (answer.status === 401) throw new Error('the daemon asks for a name and a password: reload the page');
  throw new Error(`the daemon answers with status ${answer.status}`);
}

/**
 * Asks for what `history` has not got, for good. `told` is called with every answer, `status` with the content of /status, and `lost`
 * with a sentence when there was no answer.
 */
export async function follow(history, { told, status, lost }) {
  for (let round = 0; ; round += 1) {
    let answer;
    let state;
    try {
      answer = await ask(`api/history?epoch=${history.epoch}&next=${history.next}`);
      if (round % STATUS_EVERY === 0) state = await ask('status');
    } catch (error) {
      lost(error.message);
      // Its state is the first thing to ask for when it is back.
      round = -1;
    }
    if (state) status(state);
    if (answer) told(answer);
    await new Promise((resume) => { setTimeout(resume, INTERVAL_MS); });
  }
}
