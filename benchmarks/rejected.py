# ruff: noqa
"""Ideas for a faster CPU step that did not pay, each in the whole step: the feed-forward block in chunks of 1,024 tokens that stay in cache, and
attention in two halves of the queries, the first of which needs half the keys. Kept in history only."""

import math

import torch
import torch.nn.functional as F

from benchmarks.setting import Result, Row, Setting, TrainingCase, comparison_rows, no_goal
from benchmarks.timing import compare
from moefacts.models import attention, packed_attention
from moefacts.models.feed_forward import FeedForward


class Half(torch.autograd.Function):
    @staticmethod
    def forward(ctx,qkv,cos,sin,packing,H):
        out=qkv.new_empty(len(qkv),qkv.shape[1]//3); saved=[]
        for bk in packing.buckets:
            y=packed_attention._heads(qkv[bk.start:bk.stop].index_select(0,bk.token_C),bk,3,H); packed_attention._rotate_in_place(y[:2],cos,sin)
            q,k,v=y; T=bk.width; h=T//2; mask=qkv.new_full((T,T),-math.inf).triu_(1); sc=q.shape[-1]**-.5
            o=torch.empty_like(q)
            p1=torch.baddbmm(mask[:h,:h],q[:,:h],k[:,:h].transpose(1,2),alpha=sc).softmax(-1)
            p2=torch.baddbmm(mask[h:],q[:,h:],k.transpose(1,2),alpha=sc).softmax(-1)
            o[:,:h]=torch.bmm(p1,v[:,:h]); o[:,h:]=torch.bmm(p2,v)
            torch.index_select(packed_attention._tokens(o[None],bk,H),0,bk.cell_N,out=out[bk.start:bk.stop]); saved+=[y,p1,p2]
        ctx.save_for_backward(cos,sin,*saved); ctx.packing,ctx.H=packing,H
        return out
    @staticmethod
    def backward(ctx,g):
        cos,sin,*saved=ctx.saved_tensors; H=ctx.H; dx=g.new_empty(len(g),3*g.shape[1])
        for i,bk in enumerate(ctx.packing.buckets):
            y,p1,p2=saved[3*i:3*i+3]; q,k,v=y; T=bk.width;h=T//2
            pad=g.new_zeros(bk.num_rows*T,g.shape[1]).index_copy_(0,bk.cell_N,g[bk.start:bk.stop]); gg=packed_attention._heads(pad,bk,1,H)[0]
            d=torch.empty_like(y); g1,g2=gg[:,:h],gg[:,h:]
            torch.bmm(p2.transpose(1,2),g2,out=d[2]); d[2][:,:h].baddbmm_(p1.transpose(1,2),g1)
            s2=torch._softmax_backward_data(torch.bmm(g2,v.transpose(1,2)),p2,-1,p2.dtype)
            s1=torch._softmax_backward_data(torch.bmm(g1,v[:,:h].transpose(1,2)),p1,-1,p1.dtype)
            d[0][:,:h]=torch.bmm(s1,k[:,:h]); d[0][:,h:]=torch.bmm(s2,k)
            torch.bmm(s2.transpose(1,2),q[:,h:],out=d[1]); d[1][:,:h].baddbmm_(s1.transpose(1,2),q[:,:h])
            d[:2].mul_(q.shape[-1]**-.5); packed_attention._rotate_in_place(d[:2],cos,-sin)
            torch.index_select(packed_attention._tokens(d,bk,H),0,bk.cell_N,out=dx[bk.start:bk.stop])
        return dx,None,None,None,None


class FF(torch.autograd.Function):
    @staticmethod
    def forward(ctx,x,W1,W2,C):
        h=x.new_empty(len(x),len(W1)); y=torch.empty_like(x)
        for s in range(0,len(x),C):
            hc=torch.mm(x[s:s+C],W1.t(),out=h[s:s+C]); torch.mm(F.gelu(hc),W2.t(),out=y[s:s+C])
        ctx.save_for_backward(x,W1,W2,h); ctx.C=C; return y
    @staticmethod
    def backward(ctx,g):
        x,W1,W2,h=ctx.saved_tensors; C=ctx.C; dx=torch.empty_like(x); d1=torch.zeros_like(W1); d2=torch.zeros_like(W2)
        buf=x.new_empty(C,len(W1))
        for s in range(0,len(x),C):
            gc=g[s:s+C]; hc=h[s:s+C]; a=F.gelu(hc); d2.addmm_(gc.t(),a)
            dg=torch.mm(gc,W2,out=buf[:len(gc)]); dh=torch.ops.aten.gelu_backward(dg,hc)
            d1.addmm_(dh.t(),x[s:s+C]); torch.mm(dh,W1,out=dx[s:s+C])
        return dx,d1,d2,None


def run(setting: Setting) -> Result:
    case = TrainingCase(setting.config("model=dense_laptop"))
    step = case.stepper()
    plain = FeedForward.forward, attention.packed_attention

    def with_ideas(feed_forward, mixing):
        def go():
            FeedForward.forward, attention.packed_attention = feed_forward, mixing
            step()
            FeedForward.forward, attention.packed_attention = plain
        return go

    chunked = lambda self, x: FF.apply(x.reshape(-1, x.shape[-1]), self.up.weight, self.down.weight, 1024).view_as(x)
    return compare({"training step": {"as it is": with_ideas(*plain), "feed-forward in chunks": with_ideas(chunked, plain[1]),
                                      "attention in halves": with_ideas(plain[0], Half.apply)}}, setting.rounds)


def rows(result: Result) -> list[Row]:
    return comparison_rows(result, no_goal)
