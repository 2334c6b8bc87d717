// Every time is shown in UTC; its title says it in the reader's own time zone.
const own = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
for (const time of document.querySelectorAll("time[datetime]")) {
  const moment = new Date(time.dateTime);
  if (!Number.isNaN(moment.getTime())) {
    time.title = own.format(moment);
  }
}
