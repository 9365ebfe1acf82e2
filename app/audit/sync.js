// Between annotator and server: what changes at every action goes through here, so that the annotator is sent only once.
export default mount(() => ({
  update(answer, send) {
    this.destroy();
    this.publish = () => document.dispatchEvent(new CustomEvent("audit-answer", { detail: { answer, send } }));
    document.addEventListener("audit-hello", this.publish);
    this.publish();
  },

  destroy() {
    document.removeEventListener("audit-hello", this.publish);
  },
}));
