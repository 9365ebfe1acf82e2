// Says once that it is on show: nothing of the page before it is there any more. All components are silent from then on.
export default mount(() => {
  let told = false;
  return {
    update(_data, trigger) {
      if (told) return;
      told = true;
      trigger("shown", true);
      leave(DOOR);
    },
  };
});
