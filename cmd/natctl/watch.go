package main

import (
	"context"
	"time"

	"natd/internal/control"
)

// watch shows the status every interval until ctx ends or the user quits. It goes on when natd is away for a moment; only a user
// who may not ask need not wait.
func (a *app) watch(ctx context.Context, interval time.Duration, which *control.StatusArgs) error {
	ctx, stage := a.openStage(ctx, "natctl status", interval)
	defer stage.close()
	var last error
	for {
		s, err := a.status(ctx, which)
		if ctx.Err() != nil {
			return last
		}
		if err == nil {
			err = judge(s)
			a.drawStatus(stage, s)
			last = err
		} else {
			e := control.AsError(err)
			if e.Code == control.CodeNotPermitted {
				return err
			}
			a.drawFailure(stage, e)
			last = verdict(e.Code)
		}
		if !stage.wait(ctx) {
			return last
		}
	}
}

func (a *app) drawStatus(stage *stage, s *control.Status) {
	if a.json {
		a.writeJSON(s, "")
		return
	}
	stage.draw(a.statusText(s))
}

func (a *app) drawFailure(stage *stage, e *control.Error) {
	if a.json {
		a.writeJSON(failure{control.SchemaVersion, e}, "")
		return
	}
	stage.draw("natctl: " + printable(e.Message) + "\n")
}
