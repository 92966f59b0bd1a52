/** The other end of processes.ts: loads the module named on the command line and calls its exports on request. */
process.once('disconnect', () => process.exit());

const functions = import(process.argv[2]);

process.on('message', async ({ id, name, args }) => {
  try {
    const exported = await functions;
    // The empty name asks only whether the module is loaded.
    process.send({ id, value: name === '' ? null : await exported[name](...args) });
  } catch (error) {
    process.send({ id, error: { name: error.name, message: error.message, code: error.code } });
  }
});
