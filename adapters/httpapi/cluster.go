package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// ClusterCommands change the nodes of the cluster. They are carried out by whichever node is asked.
type ClusterCommands interface {
	Add(ctx context.Context, caller commands.Caller, m domain.Member, reason string) error
	Remove(ctx context.Context, caller commands.Caller, id, reason string) error
	Transfer(ctx context.Context, id string) error
}

// clusterStatus says how the cluster is, as this node sees it.
func (a *api) clusterStatus(c echo.Context) error {
	if a.Queries.Node.Cluster == nil {
		return domain.NoCluster{}
	}
	return c.JSON(http.StatusOK, a.Queries.Node.Cluster())
}

// addMember answers when the node has a vote.
func (a *api) addMember(c echo.Context) error {
	var body wire.NewMember
	if err := decodeBody(c, &body, false); err != nil {
		return err
	}
	if a.ClusterCommands == nil {
		return domain.NoCluster{}
	}
	extendWriteDeadline(c, wire.AddMemberTimeout+time.Minute)
	if err := a.ClusterCommands.Add(c.Request().Context(), caller(c), body.Member, body.Reason); err != nil {
		return err
	}
	return a.clusterStatus(c)
}

func (a *api) removeMember(c echo.Context) error {
	if a.ClusterCommands == nil {
		return domain.NoCluster{}
	}
	if err := a.ClusterCommands.Remove(c.Request().Context(), caller(c), pathPart(c, "id"), c.QueryParam("reason")); err != nil {
		return err
	}
	return a.clusterStatus(c)
}

// moveLead gives the lead to another member, and answers when that one leads.
func (a *api) moveLead(c echo.Context) error {
	var body wire.NewLeader
	if err := decodeBody(c, &body, false); err != nil {
		return err
	}
	if a.ClusterCommands == nil {
		return domain.NoCluster{}
	}
	if err := a.ClusterCommands.Transfer(c.Request().Context(), body.ID); err != nil {
		return err
	}
	return a.clusterStatus(c)
}
